// SPDX-License-Identifier: Apache-2.0
//
// The output of a layer: results of PE rows of a matrix for PIXELS vectors, as a stream.
//
// Nothing in the pipeline before it ever waits. Results go into a FIFO, and a result may begin only
// while there is credit for it: fewer than FIFO_DEPTH results are in the pipeline and the FIFO
// together. So no late signal reaches the arithmetic.
// Latency: 1 clock, and that of row_results.

`default_nettype none

module row_stream #(
    parameter PIXELS      = 1,
    parameter PE          = 1,
    parameter GROUPS      = 1,   // of PE rows
    parameter ACC_WIDTH   = 32,  // bits of the signed accumulator
    parameter SHIFT       = 0,   // from here on, see row_results
    parameter ZERO_POINT  = 0,
    parameter LOW         = 0,
    parameter HIGH        = 255,
    parameter SCALE_WIDTH = 0,
    parameter SCALE_EXACT = 0,
    parameter ONE_SCALE   = 0,
    parameter SCALE_FILE  = "",
    parameter CLOCKS      = 1,
    parameter WORD_WIDTH  = 1,   // to here
    parameter OUT_WIDTH   = 8,   // 8: uint8, 32: accumulators as they are
    parameter FIFO_DEPTH  = 16,
    parameter GROUP_WIDTH = (GROUPS > 1) ? $clog2(GROUPS) : 1
) (
    input  wire                           clk,
    input  wire                           rst,
    input  wire                           spend,      // a result begins
    output wire                           ready,      // one may begin
    input  wire [GROUP_WIDTH-1:0]         next_group, // of what may come three clocks later
    input  wire [ACC_WIDTH*PIXELS*PE-1:0] s_accs,     // pixel p, row pe at lane p*PE + pe
    input  wire                           s_last,
    input  wire                           s_valid,
    output wire [WORD_WIDTH-1:0]          word,       // a group's scales, see row_results
    output wire [OUT_WIDTH*PIXELS*PE-1:0] m_axis_tdata,
    output wire                           m_axis_tlast,
    output wire                           m_axis_tvalid,
    input  wire                           m_axis_tready
);

    localparam CREDIT_WIDTH = $clog2(FIFO_DEPTH + 1);
    localparam RESULT_WIDTH = (OUT_WIDTH == 8) ? 8 : ACC_WIDTH;  // bits of a result in the FIFO
    localparam [CREDIT_WIDTH-1:0] CREDIT_ALL = FIFO_DEPTH[CREDIT_WIDTH-1:0];
    localparam [CREDIT_WIDTH-1:0] CREDIT_ONE = 1;

    // Credit counts the results that may still begin.
    reg [CREDIT_WIDTH-1:0] credit_reg = CREDIT_ALL;
    reg                    ready_reg  = 1'b1;  // some is left

    wire earn = m_axis_tvalid && m_axis_tready;
    assign ready = ready_reg;

    always @(posedge clk) begin
        if (spend && !earn) begin
            credit_reg <= credit_reg - 1'b1;
            ready_reg  <= credit_reg != CREDIT_ONE;
        end else if (earn && !spend) begin
            credit_reg <= credit_reg + 1'b1;
            ready_reg  <= 1'b1;
        end
        if (rst) begin
            credit_reg <= CREDIT_ALL;
            ready_reg  <= 1'b1;
        end
    end

    wire [RESULT_WIDTH*PIXELS*PE-1:0] results, fifo_tdata;
    wire                              result_valid, result_last, unused_ready;

    row_results #(
        .PIXELS(PIXELS), .PE(PE), .GROUPS(GROUPS), .ACC_WIDTH(ACC_WIDTH), .CODES(OUT_WIDTH == 8),
        .SHIFT(SHIFT), .ZERO_POINT(ZERO_POINT), .LOW(LOW), .HIGH(HIGH), .SCALE_WIDTH(SCALE_WIDTH),
        .SCALE_EXACT(SCALE_EXACT), .ONE_SCALE(ONE_SCALE), .SCALE_FILE(SCALE_FILE),
        .CLOCKS(CLOCKS), .WORD_WIDTH(WORD_WIDTH)
    ) row_results (
        .clk(clk), .rst(rst), .next_group(next_group),
        .s_accs(s_accs), .s_last(s_last), .s_valid(s_valid),
        .word(word), .m_results(results), .m_last(result_last), .m_valid(result_valid)
    );

    axis_fifo #(
        .WIDTH(RESULT_WIDTH*PIXELS*PE), .DEPTH(FIFO_DEPTH)
    ) result_fifo (
        .clk(clk), .rst(rst),
        .s_axis_tdata(results), .s_axis_tlast(result_last), .s_axis_tvalid(result_valid),
        .s_axis_tready(unused_ready),  // credit is room
        .m_axis_tdata(fifo_tdata), .m_axis_tlast(m_axis_tlast),
        .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready)
    );

    genvar lane;
    generate
        for (lane = 0; lane < PIXELS*PE; lane = lane + 1) begin : gen_lane
            wire [RESULT_WIDTH-1:0] result = fifo_tdata[RESULT_WIDTH*lane +: RESULT_WIDTH];
            assign m_axis_tdata[OUT_WIDTH*lane +: RESULT_WIDTH] = result;
            if (RESULT_WIDTH < OUT_WIDTH) begin : gen_extend
                assign m_axis_tdata[OUT_WIDTH*lane + RESULT_WIDTH +: OUT_WIDTH - RESULT_WIDTH] =
                    {(OUT_WIDTH-RESULT_WIDTH){result[RESULT_WIDTH-1]}};
            end
        end

        if (OUT_WIDTH != 8 && OUT_WIDTH != 32) begin : gen_bad_out_width
            error_OUT_WIDTH_must_be_8_or_32 error();
        end
    endgenerate

endmodule

`default_nettype wire
