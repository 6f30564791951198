// SPDX-License-Identifier: Apache-2.0
//
// upsample does what axis_places says.

`default_nettype none

module upsample_formal #(
    parameter HEIGHT     = 2,
    parameter WIDTH      = 2,
    parameter CHANNELS   = 1,
    parameter FACTOR_H   = 2,
    parameter FACTOR_W   = 2,
    parameter LANES      = CHANNELS,
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

    upsample #(
        .HEIGHT(HEIGHT), .WIDTH(WIDTH), .CHANNELS(CHANNELS), .FACTOR_H(FACTOR_H),
        .FACTOR_W(FACTOR_W), .LANES(LANES), .FIFO_DEPTH(FIFO_DEPTH)
    ) dut (
        .clk(clk), .rst(rst),
        .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
        .m_axis_tdata(m_axis_tdata), .m_axis_tlast(m_axis_tlast), .m_axis_tvalid(m_axis_tvalid),
        .m_axis_tready(m_axis_tready)
    );
    axis_places #(
        .HEIGHT(HEIGHT), .WIDTH(WIDTH), .CHANNELS(CHANNELS), .LANES(LANES), .FACTOR_H(FACTOR_H),
        .FACTOR_W(FACTOR_W), .LIMIT(5)
    ) places (
        .clk(clk), .rst(rst), .mark(mark),
        .s_tdata(s_axis_tdata), .s_tvalid(s_axis_tvalid), .s_tready(s_axis_tready),
        .m_tdata(m_axis_tdata), .m_tlast(m_axis_tlast), .m_tvalid(m_axis_tvalid),
        .m_tready(m_axis_tready)
    );

endmodule

`default_nettype wire
