// SPDX-License-Identifier: Apache-2.0
//
// axis_add does what axis_places says of one input while the other one is zero, and takes a beat of
// both or of none.

`default_nettype none

module axis_add_formal #(
    parameter POSITIONS  = 2,
    parameter CHANNELS   = 1,
    parameter LANES      = CHANNELS,
    parameter PIXELS     = 1,
    parameter DYED       = 0,  // the input that is not zero: 0 is a, 1 is b
    parameter FIFO_DEPTH = 1,
    parameter MARK_WIDTH = $clog2(PIXELS*LANES + 1)
) (
    input wire                  clk,
    input wire                  rst,
    input wire [MARK_WIDTH-1:0] mark,
    input wire [1:0]            s_axis_tvalid,
    input wire                  m_axis_tready
);

    localparam BITS = 8 * PIXELS * LANES;

    wire [BITS-1:0] dyed, m_axis_tdata;
    wire [BITS-1:0] zero = 0;
    wire [1:0]      s_axis_tready;
    wire [1:0]      takes = s_axis_tvalid & s_axis_tready;
    wire            m_axis_tlast, m_axis_tvalid;

    axis_add #(
        .POSITIONS(POSITIONS), .CHANNELS(CHANNELS), .LANES(LANES), .PIXELS(PIXELS),
        .SUM_WIDTH(10), .FIFO_DEPTH(FIFO_DEPTH)
    ) dut (
        .clk(clk), .rst(rst),
        .s_axis_tdata((DYED != 0) ? {dyed, zero} : {zero, dyed}), .s_axis_tvalid(s_axis_tvalid),
        .s_axis_tready(s_axis_tready),
        .m_axis_tdata(m_axis_tdata), .m_axis_tlast(m_axis_tlast), .m_axis_tvalid(m_axis_tvalid),
        .m_axis_tready(m_axis_tready)
    );
    axis_places #(
        .WIDTH(POSITIONS), .CHANNELS(CHANNELS), .LANES(LANES), .PIXELS(PIXELS), .LIMIT(4)
    ) places (
        .clk(clk), .rst(rst), .mark(mark),
        .s_tdata(dyed), .s_tvalid(&s_axis_tvalid), .s_tready(&s_axis_tready),
        .m_tdata(m_axis_tdata), .m_tlast(m_axis_tlast), .m_tvalid(m_axis_tvalid),
        .m_tready(m_axis_tready)
    );

    always @* assert (takes == 2'b00 || takes == 2'b11);

endmodule

`default_nettype wire
