// SPDX-License-Identifier: Apache-2.0
//
// Average pool on uint8, requantised to uint8, or as raw int32 sums.
//
//   y[c] = requantise(sum over ky, kx of
//                     x[c][STRIDE_H*row + ky - PAD_TOP][STRIDE_W*col + kx - PAD_LEFT])
//
// Padding is PAD_CODE. The division by the number of taps is part of SHIFT. Streams are in raster
// order, channel fastest, LANES channels a beat in and out; a position takes ceil(CHANNELS / LANES)
// beats.
// - With RUNNING, windows do not overlap and there is no padding, but they are as large as one
//   likes: the whole image for a global pool. A sum is kept for each of a row, and no pixel.
// - Otherwise all taps of a window are added at once.
// Cycles an image: one an input beat, or PACE a window where those are more.
// Latency: that of maxpool2d, or of running_pool and 1 clock through the FIFO.
// Equals model.network.layers.avgpool.avgpool2d followed by model.network.reference.requantise.

`default_nettype none

module avgpool2d #(
    parameter HEIGHT     = 28,
    parameter WIDTH      = 28,
    parameter CHANNELS   = 3,
    parameter KERNEL     = 2,         // the window, see sliding_window
    parameter KERNEL_H   = KERNEL,
    parameter KERNEL_W   = KERNEL,
    parameter STRIDE     = 2,
    parameter STRIDE_H   = STRIDE,
    parameter STRIDE_W   = STRIDE,
    parameter PADDING    = 0,
    parameter PAD_TOP    = PADDING,
    parameter PAD_LEFT   = PADDING,
    parameter PAD_BOTTOM = PADDING,
    parameter PAD_RIGHT  = PADDING,
    parameter PAD_CODE   = 0,         // the code of zero
    parameter RUNNING    = 0,         // 1: one pixel a beat, see running_pool
    parameter LANES      = CHANNELS,  // channels a beat
    parameter PIXELS     = 1,         // input pixels a beat, see sliding_window
    parameter PACE       = (CHANNELS + LANES - 1) / LANES,  // clocks between windows, or fewer
    parameter SHIFT      = 0,         // requantising shift, 0 or more
    parameter OUT_WIDTH  = 8,         // 8: uint8, 32: sums
    parameter FIFO_DEPTH = 2,         // output beats taken up
    parameter OUT_PIXELS = (PIXELS > STRIDE_W) ? PIXELS / STRIDE_W : 1
) (
    input  wire                                  clk,
    input  wire                                  rst,
    input  wire [8*PIXELS*LANES-1:0]             s_axis_tdata,
    input  wire                                  s_axis_tvalid,
    output wire                                  s_axis_tready,
    output wire [OUT_WIDTH*OUT_PIXELS*LANES-1:0] m_axis_tdata,
    output wire                                  m_axis_tlast,
    output wire                                  m_axis_tvalid,
    input  wire                                  m_axis_tready
);

    localparam TAPS         = KERNEL_H * KERNEL_W;
    localparam SUM_WIDTH    = 8 + $clog2(TAPS);
    localparam RESULT_WIDTH = (OUT_WIDTH == 8) ? 8 : SUM_WIDTH;  // bits of a result in the FIFO

    generate
        if (RUNNING != 0 && PIXELS != 1) begin : gen_bad_pixels
            error_PIXELS_must_be_1_where_RUNNING error();
        end
        if (OUT_WIDTH != 8 && OUT_WIDTH != 32) begin : gen_bad_out_width
            error_OUT_WIDTH_must_be_8_or_32 error();
        end
    endgenerate

    wire [SUM_WIDTH*OUT_PIXELS*LANES-1:0]    sums;
    wire                                     sums_last, sums_valid, sums_ready;
    wire [RESULT_WIDTH*OUT_PIXELS*LANES-1:0] results, fifo_tdata;

    generate
        if (RUNNING != 0) begin : gen_running
            running_pool #(
                .HEIGHT(HEIGHT), .WIDTH(WIDTH), .CHANNELS(CHANNELS), .KERNEL_H(KERNEL_H),
                .KERNEL_W(KERNEL_W), .LANES(LANES), .SUM(1)
            ) windows (
                .clk(clk), .rst(rst),
                .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid),
                .s_axis_tready(s_axis_tready),
                .m_result(sums), .m_result_last(sums_last), .m_result_valid(sums_valid),
                .m_result_ready(sums_ready)
            );
        end else begin : gen_at_once
            wire [8*TAPS*OUT_PIXELS*LANES-1:0] taps;
            wire                               taps_last, taps_valid, taps_ready;

            pool_taps #(
                .HEIGHT(HEIGHT), .WIDTH(WIDTH), .CHANNELS(CHANNELS), .KERNEL_H(KERNEL_H),
                .KERNEL_W(KERNEL_W), .STRIDE_H(STRIDE_H), .STRIDE_W(STRIDE_W), .PAD_TOP(PAD_TOP),
                .PAD_LEFT(PAD_LEFT), .PAD_BOTTOM(PAD_BOTTOM), .PAD_RIGHT(PAD_RIGHT),
                .PAD_CODE(PAD_CODE), .LANES(LANES), .PIXELS(PIXELS), .PACE(PACE)
            ) windows (
                .clk(clk), .rst(rst),
                .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid),
                .s_axis_tready(s_axis_tready),
                .m_taps(taps), .m_taps_last(taps_last), .m_taps_valid(taps_valid),
                .m_taps_ready(taps_ready)
            );

            pool_tree #(
                .TAPS(TAPS), .LANES(OUT_PIXELS*LANES), .SUM(1)
            ) tree (
                .clk(clk), .rst(rst),
                .s_taps(taps), .s_taps_last(taps_last), .s_taps_valid(taps_valid),
                .s_taps_ready(taps_ready),
                .m_result(sums), .m_result_last(sums_last), .m_result_valid(sums_valid),
                .m_result_ready(sums_ready)
            );
        end
    endgenerate

    genvar lane;
    generate
        for (lane = 0; lane < OUT_PIXELS*LANES; lane = lane + 1) begin : gen_lane
            wire [SUM_WIDTH-1:0] sum = sums[SUM_WIDTH*lane +: SUM_WIDTH];
            if (OUT_WIDTH == 8) begin : gen_uint8
                requantise #(
                    .ACC_WIDTH(SUM_WIDTH + 1), .SHIFT(SHIFT)
                ) requantise (
                    .acc({1'b0, sum}), .y(results[8*lane +: 8])
                );
                assign m_axis_tdata[8*lane +: 8] = fifo_tdata[8*lane +: 8];
            end else begin : gen_int32
                assign results[SUM_WIDTH*lane +: SUM_WIDTH] = sum;
                assign m_axis_tdata[32*lane +: 32] =
                    {{(32-SUM_WIDTH){1'b0}}, fifo_tdata[SUM_WIDTH*lane +: SUM_WIDTH]};
            end
        end
    endgenerate

    axis_fifo #(
        .WIDTH(RESULT_WIDTH*OUT_PIXELS*LANES), .DEPTH(FIFO_DEPTH)
    ) result_fifo (
        .clk(clk), .rst(rst),
        .s_axis_tdata(results), .s_axis_tlast(sums_last), .s_axis_tvalid(sums_valid),
        .s_axis_tready(sums_ready),
        .m_axis_tdata(fifo_tdata), .m_axis_tlast(m_axis_tlast),
        .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready)
    );

endmodule

`default_nettype wire
