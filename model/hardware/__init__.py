"""From an int8 network to hardware: folding, schedule, ROM contents, Verilog, manifest."""
