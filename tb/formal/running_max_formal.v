// SPDX-License-Identifier: Apache-2.0
//
// running_max does what axis_pool says.

`default_nettype none

module running_max_formal #(
    parameter HEIGHT   = 3,
    parameter WIDTH    = 3,
    parameter CHANNELS = 1,
    parameter KERNEL   = 2,
    parameter KERNEL_H = KERNEL,
    parameter KERNEL_W = KERNEL,
    parameter LANES    = CHANNELS,
    parameter FIFO_DEPTH = 1,
    parameter MARK_WIDTH = $clog2(LANES + 1)
) (
    input wire                  clk,
    input wire                  rst,
    input wire [MARK_WIDTH-1:0] mark,
    input wire                  s_axis_tvalid,
    input wire                  m_axis_tready
);

    wire [8*LANES-1:0] s_axis_tdata, m_axis_tdata;
    wire               s_axis_tready, m_axis_tlast, m_axis_tvalid;

    running_max #(
        .HEIGHT(HEIGHT), .WIDTH(WIDTH), .CHANNELS(CHANNELS), .KERNEL_H(KERNEL_H),
        .KERNEL_W(KERNEL_W), .LANES(LANES), .FIFO_DEPTH(FIFO_DEPTH)
    ) dut (
        .clk(clk), .rst(rst),
        .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
        .m_axis_tdata(m_axis_tdata), .m_axis_tlast(m_axis_tlast), .m_axis_tvalid(m_axis_tvalid),
        .m_axis_tready(m_axis_tready)
    );
    axis_pool #(
        .HEIGHT(HEIGHT), .WIDTH(WIDTH), .CHANNELS(CHANNELS), .KERNEL_H(KERNEL_H),
        .KERNEL_W(KERNEL_W), .STRIDE_H(KERNEL_H), .STRIDE_W(KERNEL_W), .LANES(LANES), .LIMIT(2)
    ) pool (
        .clk(clk), .rst(rst), .mark(mark),
        .s_tdata(s_axis_tdata), .s_tvalid(s_axis_tvalid), .s_tready(s_axis_tready),
        .m_tdata(m_axis_tdata), .m_tlast(m_axis_tlast), .m_tvalid(m_axis_tvalid),
        .m_tready(m_axis_tready)
    );

endmodule

`default_nettype wire
