// SPDX-License-Identifier: Apache-2.0
//
// lookup does what axis_places says, where the tables make a 1 the number of the channel.

`default_nettype none

module lookup_formal #(
    parameter POSITIONS   = 2,
    parameter CHANNELS    = 1,
    parameter LANES       = CHANNELS,
    parameter PIXELS      = 1,
    parameter PER_CHANNEL = 0,
    parameter FIFO_DEPTH  = 1,
    parameter MARK_WIDTH  = $clog2(PIXELS*LANES + 1)
) (
    input wire                  clk,
    input wire                  rst,
    input wire [MARK_WIDTH-1:0] mark,
    input wire                  s_axis_tvalid,
    input wire                  m_axis_tready
);

    wire [8*PIXELS*LANES-1:0] s_axis_tdata, m_axis_tdata;
    wire                      s_axis_tready, m_axis_tlast, m_axis_tvalid;

    lookup #(
        .POSITIONS(POSITIONS), .CHANNELS(CHANNELS), .LANES(LANES), .PIXELS(PIXELS),
        .PER_CHANNEL(PER_CHANNEL), .FIFO_DEPTH(FIFO_DEPTH), .TABLE_FILE("table.mem")
    ) dut (
        .clk(clk), .rst(rst),
        .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
        .m_axis_tdata(m_axis_tdata), .m_axis_tlast(m_axis_tlast), .m_axis_tvalid(m_axis_tvalid),
        .m_axis_tready(m_axis_tready)
    );
    axis_places #(
        .WIDTH(POSITIONS), .CHANNELS(CHANNELS), .LANES(LANES), .PIXELS(PIXELS),
        .NUMBERED(PER_CHANNEL), .LIMIT(2)
    ) places (
        .clk(clk), .rst(rst), .mark(mark),
        .s_tdata(s_axis_tdata), .s_tvalid(s_axis_tvalid), .s_tready(s_axis_tready),
        .m_tdata(m_axis_tdata), .m_tlast(m_axis_tlast), .m_tvalid(m_axis_tvalid),
        .m_tready(m_axis_tready)
    );

endmodule

`default_nettype wire
