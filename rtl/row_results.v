// SPDX-License-Identifier: Apache-2.0
//
// The results of PE rows of a matrix, for PIXELS vectors: accumulators as they are, or the uint8
// codes that requantise or scale_requantise makes of them.
//
// Latency: none, but with scales the CLOCKS + 2 clocks of scale_requantise. Nothing waits.

`default_nettype none

module row_results #(
    parameter PIXELS       = 1,
    parameter PE           = 1,
    parameter GROUPS       = 1,   // of PE rows
    parameter ACC_WIDTH    = 32,  // bits of the signed accumulator
    parameter CODES        = 1,   // 0: accumulators as they are
    parameter SHIFT        = 0,
    parameter ZERO_POINT   = 0,   // see clamp_code
    parameter LOW          = 0,
    parameter HIGH         = 255,
    parameter SCALE_WIDTH  = 0,   // bits of a scale; 0: shift alone
    parameter SCALE_EXACT  = 0,   // see scale_round
    parameter ONE_SCALE    = 0,   // all rows have the same scale
    parameter SCALE_FILE   = "",  // words of PE scales, or of the one
    parameter CLOCKS       = 1,   // of a product; results come further apart, see scale_product
    parameter GROUP_WIDTH  = (GROUPS > 1) ? $clog2(GROUPS) : 1,
    parameter WIDTH        = (CODES != 0) ? 8 : ACC_WIDTH,  // bits of a result
    parameter WORD_WIDTH   = (SCALE_WIDTH == 0) ? 1 : SCALE_WIDTH * ((ONE_SCALE != 0) ? 1 : PE)
) (
    input  wire                           clk,
    input  wire                           rst,
    input  wire [GROUP_WIDTH-1:0]         next_group, // of what may come three clocks later
    input  wire [ACC_WIDTH*PIXELS*PE-1:0] s_accs,     // pixel p, row pe at lane p*PE + pe
    input  wire                           s_last,
    input  wire                           s_valid,
    output wire [WORD_WIDTH-1:0]          word,       // a group's scales, see below
    output wire [WIDTH*PIXELS*PE-1:0]     m_results,
    output wire                           m_last,
    output wire                           m_valid
);

    genvar lane;
    generate
        if (CODES != 0 && SCALE_WIDTH != 0) begin : gen_scale
            // A word comes out of its memory a clock too early. It is kept for that or, where it
            // stands for several clocks, read a clock later.
            wire [SCALE_WIDTH*PE-1:0] scales;

            if (ONE_SCALE != 0) begin : gen_shared
                wire unused = &{1'b0, next_group};
                weight_rom #(
                    .WIDTH(WORD_WIDTH), .DEPTH(1), .FILE(SCALE_FILE)
                ) scale_memory (
                    .clk(clk), .addr(1'b0), .data(word)
                );
                assign scales = {PE{word}};
            end else begin : gen_own
                reg  [GROUP_WIDTH-1:0] next_group_reg;
                reg  [WORD_WIDTH-1:0]  word_reg;

                always @(posedge clk) begin
                    next_group_reg <= next_group;
                    word_reg       <= word;
                end

                weight_rom #(
                    .WIDTH(WORD_WIDTH), .DEPTH(GROUPS), .FILE(SCALE_FILE)
                ) scale_memory (
                    .clk(clk), .addr((CLOCKS > 1) ? next_group_reg : next_group), .data(word)
                );
                assign scales = (CLOCKS > 1) ? word : word_reg;
            end

            scale_requantise #(
                .PIXELS(PIXELS), .PE(PE), .ACC_WIDTH(ACC_WIDTH), .SCALE_WIDTH(SCALE_WIDTH),
                .SHIFT(SHIFT), .EXACT(SCALE_EXACT), .CLOCKS(CLOCKS),
                .CONSTANT(GROUPS == 1 || ONE_SCALE != 0),
                .ZERO_POINT(ZERO_POINT), .LOW(LOW), .HIGH(HIGH)
            ) requantise (
                .clk(clk), .rst(rst), .enable(1'b1),
                .s_accs(s_accs), .s_scales(scales), .s_last(s_last), .s_valid(s_valid),
                .m_codes(m_results), .m_last(m_last), .m_valid(m_valid)
            );
        end else begin : gen_at_once
            wire unused = &{1'b0, clk, rst, next_group};
            assign word    = {WORD_WIDTH{1'b0}};
            assign m_last  = s_last;
            assign m_valid = s_valid;

            if (CODES != 0) begin : gen_codes
                for (lane = 0; lane < PIXELS*PE; lane = lane + 1) begin : gen_lane
                    requantise #(
                        .ACC_WIDTH(ACC_WIDTH), .SHIFT(SHIFT), .ZERO_POINT(ZERO_POINT), .LOW(LOW),
                        .HIGH(HIGH)
                    ) requantise (
                        .acc(s_accs[ACC_WIDTH*lane +: ACC_WIDTH]), .y(m_results[8*lane +: 8])
                    );
                end
            end else begin : gen_accumulators
                assign m_results = s_accs;
            end
        end
    endgenerate

endmodule

`default_nettype wire
