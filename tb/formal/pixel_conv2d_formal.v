// SPDX-License-Identifier: Apache-2.0
//
// pixel_conv2d does what axis_conv says.

`default_nettype none

module pixel_conv2d_formal #(
    parameter HEIGHT       = 2,
    parameter WIDTH        = 2,
    parameter CHANNELS     = 1,
    parameter OUT_CHANNELS = 1,
    parameter KERNEL       = 1,
    parameter KERNEL_H     = KERNEL,
    parameter KERNEL_W     = KERNEL,
    parameter STRIDE       = 1,
    parameter STRIDE_H     = STRIDE,
    parameter STRIDE_W     = STRIDE,
    parameter PADDING      = 0,
    parameter PAD_TOP      = PADDING,
    parameter PAD_LEFT     = PADDING,
    parameter PAD_BOTTOM   = PADDING,
    parameter PAD_RIGHT    = PADDING,
    parameter DILATION_H   = 1,
    parameter DILATION_W   = 1,
    parameter LANES        = 1,
    parameter PE           = 1,
    parameter MARK_WIDTH   = $clog2(LANES + 1)
) (
    input wire                  clk,
    input wire                  rst,
    input wire [MARK_WIDTH-1:0] mark,
    input wire                  s_axis_tvalid,
    input wire                  m_axis_tready
);

    localparam ACC_WIDTH = $clog2(1 + OUT_CHANNELS*(1 + CHANNELS*KERNEL_H*KERNEL_W)) + 1;
    localparam PACE      = ((OUT_CHANNELS + PE - 1) / PE) * (KERNEL_H * KERNEL_W);  // clocks a window

    wire [8*LANES-1:0] s_axis_tdata;
    wire [32*PE-1:0]   m_axis_tdata;
    wire [31:0]        unused_signature;
    wire               s_axis_tready, m_axis_tlast, m_axis_tvalid;

    pixel_conv2d #(
        .HEIGHT(HEIGHT), .WIDTH(WIDTH), .IN_CHANNELS(CHANNELS), .OUT_CHANNELS(OUT_CHANNELS),
        .KERNEL_H(KERNEL_H), .KERNEL_W(KERNEL_W), .STRIDE_H(STRIDE_H), .STRIDE_W(STRIDE_W),
        .PAD_TOP(PAD_TOP), .PAD_LEFT(PAD_LEFT), .PAD_BOTTOM(PAD_BOTTOM), .PAD_RIGHT(PAD_RIGHT),
        .DILATION_H(DILATION_H), .DILATION_W(DILATION_W), .LANES(LANES), .PE(PE),
        .ACC_WIDTH(ACC_WIDTH), .OUT_WIDTH(32), .FIFO_DEPTH(2),
        .WEIGHT_FILE("weight.mem"), .BIAS_FILE("bias.mem")
    ) dut (
        .clk(clk), .rst(rst),
        .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
        .m_axis_tdata(m_axis_tdata), .m_axis_tlast(m_axis_tlast), .m_axis_tvalid(m_axis_tvalid),
        .m_axis_tready(m_axis_tready), .signature(unused_signature)
    );
    axis_conv #(
        .HEIGHT(HEIGHT), .WIDTH(WIDTH), .CHANNELS(CHANNELS), .OUT_CHANNELS(OUT_CHANNELS),
        .KERNEL_H(KERNEL_H), .KERNEL_W(KERNEL_W), .STRIDE_H(STRIDE_H), .STRIDE_W(STRIDE_W),
        .PAD_TOP(PAD_TOP), .PAD_LEFT(PAD_LEFT), .PAD_BOTTOM(PAD_BOTTOM), .PAD_RIGHT(PAD_RIGHT),
        .DILATION_H(DILATION_H), .DILATION_W(DILATION_W), .LANES(LANES), .PE(PE), .LIMIT(PACE + 12)
    ) conv (
        .clk(clk), .rst(rst), .mark(mark),
        .s_tdata(s_axis_tdata), .s_tvalid(s_axis_tvalid), .s_tready(s_axis_tready),
        .m_tdata(m_axis_tdata), .m_tlast(m_axis_tlast), .m_tvalid(m_axis_tvalid),
        .m_tready(m_axis_tready)
    );

endmodule

`default_nettype wire
