// SPDX-License-Identifier: Apache-2.0
//
// Read-only memory of weights or biases, filled from a `.mem` file of hexadecimal words.
// The read is synchronous, so that many words map to block RAM; few are cheaper in logic, and a
// single one is a constant. The order of the words is that of model/hardware/rom.py.
// Latency: 2 clocks, as a word comes late out of a block RAM, and may have far to go from there.

`default_nettype none

module weight_rom #(
    parameter WIDTH      = 8,   // bits of a word
    parameter DEPTH      = 16,  // words, as many as the file has lines
    parameter FILE       = "",  // path of the `.mem` file
    parameter ADDR_WIDTH = (DEPTH > 1) ? $clog2(DEPTH) : 1
) (
    input  wire                  clk,
    input  wire [ADDR_WIDTH-1:0] addr,
    output wire [WIDTH-1:0]      data
);

    localparam IN_BLOCKS = DEPTH > 16;

    (* rom_style = IN_BLOCKS ? "block" : "logic" *)
    reg [WIDTH-1:0] memory [0:DEPTH-1];

    generate
        if (FILE != "") begin : gen_contents
            initial $readmemh(FILE, memory);
        end else begin : gen_empty
            integer i;
            initial
                for (i = 0; i < DEPTH; i = i + 1)
                    memory[i] = {WIDTH{1'b0}};
        end
    endgenerate

    reg [WIDTH-1:0] data_reg;
    assign data = data_reg;

    generate
        if (IN_BLOCKS) begin : gen_blocks
            reg [WIDTH-1:0] word_reg;
            always @(posedge clk) begin
                word_reg <= memory[addr];
                data_reg <= word_reg;
            end
        end else begin : gen_logic
            // An address has fewer bits than a word.
            reg [ADDR_WIDTH-1:0] addr_reg;
            always @(posedge clk) begin
                addr_reg <= addr;
                data_reg <= memory[addr_reg];
            end
        end
    endgenerate

endmodule

`default_nettype wire
