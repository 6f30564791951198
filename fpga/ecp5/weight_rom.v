// SPDX-License-Identifier: Apache-2.0
//
// rtl/weight_rom.v for ECP5: columns so narrow that one block RAM holds all words of each. Yosys by
// itself stacks block RAMs, which wastes fewer bits, but puts a multiplexer behind their late
// outputs. Same ports, same latency of 2 clocks.
//
// Column n of a ROM in block RAM is in the file FILE.nnn, from flow.write_columns.

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

    localparam COLUMN = DEPTH <= 512 ? 36 : DEPTH <= 1024 ? 18 : DEPTH <= 2048 ? 9
                      : DEPTH <= 4096 ? 4 : DEPTH <= 8192 ? 2 : 1;

    genvar low;
    generate
        if (DEPTH > 16) begin : gen_blocks
            for (low = 0; low < WIDTH; low = low + COLUMN) begin : gen_column
                localparam       BITS     = (low + COLUMN < WIDTH) ? COLUMN : WIDTH - low;
                localparam       NUMBER   = low / COLUMN;
                localparam [7:0] HUNDREDS = "0" + NUMBER / 100;
                localparam [7:0] TENS     = "0" + NUMBER / 10 % 10;
                localparam [7:0] ONES     = "0" + NUMBER % 10;

                (* rom_style = "block" *)
                reg [BITS-1:0] memory [0:DEPTH-1];
                reg [BITS-1:0] word_reg, data_reg;

                if (FILE != "") begin : gen_contents
                    initial $readmemh({FILE, ".", HUNDREDS, TENS, ONES}, memory);
                end
                always @(posedge clk) begin
                    word_reg <= memory[addr];
                    data_reg <= word_reg;
                end
                assign data[low +: BITS] = data_reg;
            end
        end else begin : gen_logic
            (* rom_style = "logic" *)
            reg [WIDTH-1:0]      memory [0:DEPTH-1];
            reg [ADDR_WIDTH-1:0] addr_reg;
            reg [WIDTH-1:0]      data_reg;

            if (FILE != "") begin : gen_contents
                initial $readmemh(FILE, memory);
            end
            always @(posedge clk) begin
                addr_reg <= addr;
                data_reg <= memory[addr_reg];
            end
            assign data = data_reg;
        end
    endgenerate

endmodule

`default_nettype wire
