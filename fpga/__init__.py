"""Networks on FPGA boards: bitstreams from open tools, the link, the host, the simulated board."""
