// SPDX-License-Identifier: Apache-2.0
//
// Max-pool on uint8 whose windows do not overlap: far smaller than maxpool2d, see running_pool.
//
//   y[c] = max over ky, kx of x[c][KERNEL_H*row + ky][KERNEL_W*col + kx]
//
// Streams are in raster order, channel fastest, LANES channels a beat in and out; a position takes
// ceil(CHANNELS / LANES) beats. Rows and columns that are left over are dropped.
// Takes a beat every clock, unless a result waits. Latency: that of running_pool, and 1 clock
// through the FIFO.
// Equals model.network.layers.maxpool.maxpool2d.

`default_nettype none

module running_max #(
    parameter HEIGHT     = 28,
    parameter WIDTH      = 28,
    parameter CHANNELS   = 3,
    parameter KERNEL     = 2,         // rows and columns, and as many from window to window
    parameter KERNEL_H   = KERNEL,
    parameter KERNEL_W   = KERNEL,
    parameter LANES      = CHANNELS,  // channels a beat
    parameter FIFO_DEPTH = 2          // output beats taken up
) (
    input  wire               clk,
    input  wire               rst,
    input  wire [8*LANES-1:0] s_axis_tdata,
    input  wire               s_axis_tvalid,
    output wire               s_axis_tready,
    output wire [8*LANES-1:0] m_axis_tdata,
    output wire               m_axis_tlast,
    output wire               m_axis_tvalid,
    input  wire               m_axis_tready
);

    wire [8*LANES-1:0] largest;
    wire               largest_last, largest_valid, largest_ready;

    running_pool #(
        .HEIGHT(HEIGHT), .WIDTH(WIDTH), .CHANNELS(CHANNELS), .KERNEL_H(KERNEL_H),
        .KERNEL_W(KERNEL_W), .LANES(LANES), .SUM(0)
    ) windows (
        .clk(clk), .rst(rst),
        .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
        .m_result(largest), .m_result_last(largest_last), .m_result_valid(largest_valid),
        .m_result_ready(largest_ready)
    );

    axis_fifo #(
        .WIDTH(8*LANES), .DEPTH(FIFO_DEPTH)
    ) result_fifo (
        .clk(clk), .rst(rst),
        .s_axis_tdata(largest), .s_axis_tlast(largest_last), .s_axis_tvalid(largest_valid),
        .s_axis_tready(largest_ready),
        .m_axis_tdata(m_axis_tdata), .m_axis_tlast(m_axis_tlast),
        .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready)
    );

endmodule

`default_nettype wire
