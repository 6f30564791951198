// SPDX-License-Identifier: Apache-2.0
//
// maxpool2d does what axis_pool says.

`default_nettype none

module maxpool2d_formal #(
    parameter HEIGHT   = 3,
    parameter WIDTH    = 3,
    parameter CHANNELS = 1,
    parameter KERNEL   = 2,
    parameter KERNEL_H = KERNEL,
    parameter KERNEL_W = KERNEL,
    parameter STRIDE   = 2,
    parameter STRIDE_H = STRIDE,
    parameter STRIDE_W = STRIDE,
    parameter PADDING  = 0,
    parameter PAD_TOP  = PADDING,
    parameter PAD_LEFT = PADDING,
    parameter PAD_BOTTOM = PADDING,
    parameter PAD_RIGHT = PADDING,
    parameter LANES    = CHANNELS,
    parameter PIXELS   = 1,
    parameter FIFO_DEPTH = 1,
    parameter MARK_WIDTH = $clog2(PIXELS*LANES + 1)
) (
    input wire                  clk,
    input wire                  rst,
    input wire [MARK_WIDTH-1:0] mark,
    input wire                  s_axis_tvalid,
    input wire                  m_axis_tready
);

    localparam OUT_PIXELS = (PIXELS > STRIDE_W) ? PIXELS / STRIDE_W : 1;

    wire [8*PIXELS*LANES-1:0]     s_axis_tdata;
    wire [8*OUT_PIXELS*LANES-1:0] m_axis_tdata;
    wire                          s_axis_tready, m_axis_tlast, m_axis_tvalid;

    maxpool2d #(
        .HEIGHT(HEIGHT), .WIDTH(WIDTH), .CHANNELS(CHANNELS),
        .KERNEL_H(KERNEL_H), .KERNEL_W(KERNEL_W), .STRIDE_H(STRIDE_H), .STRIDE_W(STRIDE_W),
        .PAD_TOP(PAD_TOP), .PAD_LEFT(PAD_LEFT), .PAD_BOTTOM(PAD_BOTTOM), .PAD_RIGHT(PAD_RIGHT),
        .LANES(LANES), .PIXELS(PIXELS), .FIFO_DEPTH(FIFO_DEPTH)
    ) dut (
        .clk(clk), .rst(rst),
        .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
        .m_axis_tdata(m_axis_tdata), .m_axis_tlast(m_axis_tlast), .m_axis_tvalid(m_axis_tvalid),
        .m_axis_tready(m_axis_tready)
    );
    axis_pool #(
        .HEIGHT(HEIGHT), .WIDTH(WIDTH), .CHANNELS(CHANNELS),
        .KERNEL_H(KERNEL_H), .KERNEL_W(KERNEL_W), .STRIDE_H(STRIDE_H), .STRIDE_W(STRIDE_W),
        .PAD_TOP(PAD_TOP), .PAD_LEFT(PAD_LEFT), .PAD_BOTTOM(PAD_BOTTOM), .PAD_RIGHT(PAD_RIGHT),
        .LANES(LANES), .PIXELS(PIXELS), .LIMIT(13)
    ) pool (
        .clk(clk), .rst(rst), .mark(mark),
        .s_tdata(s_axis_tdata), .s_tvalid(s_axis_tvalid), .s_tready(s_axis_tready),
        .m_tdata(m_axis_tdata), .m_tlast(m_axis_tlast), .m_tvalid(m_axis_tvalid),
        .m_tready(m_axis_tready)
    );

endmodule

`default_nettype wire
