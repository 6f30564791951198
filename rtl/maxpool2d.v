// SPDX-License-Identifier: Apache-2.0
//
// Max-pool on uint8.
//
//   y[c] = max over ky, kx of x[c][STRIDE_H*row + ky - PAD_TOP][STRIDE_W*col + kx - PAD_LEFT]
//
// Padding is zero, which never exceeds a real value. Streams are in raster order, channel fastest,
// LANES channels a beat in and out; a position takes ceil(CHANNELS / LANES) beats.
// Cycles an image: one an input beat, or PACE a window where those are more.
// Latency: that of pool_taps, pool_tree and axis_fifo.
// Equals model.network.layers.maxpool.maxpool2d.

`default_nettype none

module maxpool2d #(
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
    parameter LANES      = CHANNELS,  // channels a beat
    parameter PIXELS     = 1,         // input pixels a beat, see sliding_window
    parameter PACE       = (CHANNELS + LANES - 1) / LANES,  // clocks between windows, or fewer
    parameter FIFO_DEPTH = 2,         // output beats taken up
    parameter OUT_PIXELS = (PIXELS > STRIDE_W) ? PIXELS / STRIDE_W : 1
) (
    input  wire                          clk,
    input  wire                          rst,
    input  wire [8*PIXELS*LANES-1:0]     s_axis_tdata,
    input  wire                          s_axis_tvalid,
    output wire                          s_axis_tready,
    output wire [8*OUT_PIXELS*LANES-1:0] m_axis_tdata,
    output wire                          m_axis_tlast,
    output wire                          m_axis_tvalid,
    input  wire                          m_axis_tready
);

    localparam TAPS = KERNEL_H * KERNEL_W;

    wire [8*TAPS*OUT_PIXELS*LANES-1:0] taps;
    wire                               taps_last, taps_valid, taps_ready;
    wire [8*OUT_PIXELS*LANES-1:0]      largest;
    wire                               largest_last, largest_valid, largest_ready;

    pool_taps #(
        .HEIGHT(HEIGHT), .WIDTH(WIDTH), .CHANNELS(CHANNELS),
        .KERNEL_H(KERNEL_H), .KERNEL_W(KERNEL_W), .STRIDE_H(STRIDE_H), .STRIDE_W(STRIDE_W),
        .PAD_TOP(PAD_TOP), .PAD_LEFT(PAD_LEFT), .PAD_BOTTOM(PAD_BOTTOM), .PAD_RIGHT(PAD_RIGHT),
        .LANES(LANES), .PIXELS(PIXELS), .PACE(PACE)
    ) windows (
        .clk(clk), .rst(rst),
        .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
        .m_taps(taps), .m_taps_last(taps_last), .m_taps_valid(taps_valid),
        .m_taps_ready(taps_ready)
    );

    pool_tree #(
        .TAPS(TAPS), .LANES(OUT_PIXELS*LANES), .SUM(0)
    ) tree (
        .clk(clk), .rst(rst),
        .s_taps(taps), .s_taps_last(taps_last), .s_taps_valid(taps_valid),
        .s_taps_ready(taps_ready),
        .m_result(largest), .m_result_last(largest_last), .m_result_valid(largest_valid),
        .m_result_ready(largest_ready)
    );

    axis_fifo #(
        .WIDTH(8*OUT_PIXELS*LANES), .DEPTH(FIFO_DEPTH)
    ) result_fifo (
        .clk(clk), .rst(rst),
        .s_axis_tdata(largest), .s_axis_tlast(largest_last), .s_axis_tvalid(largest_valid),
        .s_axis_tready(largest_ready),
        .m_axis_tdata(m_axis_tdata), .m_axis_tlast(m_axis_tlast),
        .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready)
    );

endmodule

`default_nettype wire
