// SPDX-License-Identifier: Apache-2.0
//
// Hash of the words of a ROM as they are read for the first time, so that a board can tell which
// weights it holds.
//
//   signature = step(signature) ^ fold(word), for the DEPTH words after a reset, from 0xFFFF
//
// with fold(word) the exclusive or of its slices of 16 bits, and step(s) a Galois LFSR that shifts
// left, polynomial 0x1021. Equals model.hardware.rom.signature. Final a few clocks
// after the last word.

`default_nettype none

module rom_signature #(
    parameter WIDTH = 8,  // bits of a word
    parameter DEPTH = 1   // words
) (
    input  wire             clk,
    input  wire             rst,
    input  wire [WIDTH-1:0] word,
    input  wire             valid,     // `word` is the next one
    output wire [15:0]      signature
);

    localparam SLICES      = (WIDTH + 15) / 16;
    localparam LEVELS      = (SLICES > 1) ? ($clog2(SLICES) + 1) / 2 : 1;
    localparam COUNT_WIDTH = $clog2(DEPTH + 1);

    localparam [COUNT_WIDTH-1:0] COUNT_LAST = DEPTH[COUNT_WIDTH-1:0] - 1'b1;

    function integer slices;  // after so many levels: ceil(SLICES / 4^level)
        input integer level_of;
        slices = (SLICES + (1 << 2*level_of) - 1) >> 2*level_of;
    endfunction

    reg [LEVELS-1:0]      valid_reg     = 0;  // from level 1 on
    reg [COUNT_WIDTH-1:0] count_reg     = 0;
    reg                   done_reg      = 1'b0;
    reg [15:0]            signature_reg = 16'hFFFF;

    // Bit i stands beside level i.
    wire [LEVELS:0] valids = {valid_reg, valid && !done_reg};

    // Each level makes one slice of up to four: a single LUT before each register. After the first
    // pass nothing moves.
    genvar level;
    generate
        for (level = 0; level <= LEVELS; level = level + 1) begin : gen_level
            wire [16*slices(level)-1:0] value;
            if (level == 0) begin : gen_word
                assign value[WIDTH-1:0] = word;
                if (16*SLICES > WIDTH) begin : gen_extend
                    assign value[16*SLICES-1:WIDTH] = {(16*SLICES-WIDTH){1'b0}};
                end
            end else begin : gen_fold
                localparam FROM = slices(level - 1);
                reg [16*slices(level)-1:0] value_reg;
                assign value = value_reg;

                function [16*slices(level)-1:0] fold;
                    input [16*FROM-1:0] wide;
                    integer slice;
                    begin
                        fold = 0;
                        for (slice = 0; slice < FROM; slice = slice + 1)
                            fold[16*(slice/4) +: 16] = fold[16*(slice/4) +: 16]
                                                     ^ wide[16*slice +: 16];
                    end
                endfunction

                always @(posedge clk)
                    if (valids[level-1])
                        value_reg <= fold(gen_level[level-1].value);
            end
        end
    endgenerate

    assign signature = signature_reg;

    always @(posedge clk) begin
        valid_reg <= valids[LEVELS-1:0];
        if (valids[0]) begin
            count_reg <= count_reg + 1'b1;
            done_reg  <= count_reg == COUNT_LAST;
        end
        if (valids[LEVELS])
            signature_reg <= {signature_reg[14:0], 1'b0} ^ (signature_reg[15] ? 16'h1021 : 16'h0)
                           ^ gen_level[LEVELS].value;
        if (rst) begin
            valid_reg     <= 0;
            count_reg     <= 0;
            done_reg      <= 1'b0;
            signature_reg <= 16'hFFFF;
        end
    end

endmodule

`default_nettype wire
