// SPDX-License-Identifier: Apache-2.0
//
// A FIFO of any depth: DEPTH beats fit, and they leave as they came.

`default_nettype none

module axis_fifo_formal #(
    parameter WIDTH = 2,
    parameter DEPTH = 2,
    parameter IN_BLOCKS = 0
) (
    input wire             clk,
    input wire             rst,
    input wire             mark,
    input wire [WIDTH-1:0] s_axis_tdata,
    input wire             s_axis_tlast,
    input wire             s_axis_tvalid,
    input wire             m_axis_tready
);

    wire             s_axis_tready, m_axis_tlast, m_axis_tvalid;
    wire [WIDTH-1:0] m_axis_tdata;

    axis_fifo #(
        .WIDTH(WIDTH), .DEPTH(DEPTH), .IN_BLOCKS(IN_BLOCKS)
    ) dut (
        .clk(clk), .rst(rst),
        .s_axis_tdata(s_axis_tdata), .s_axis_tlast(s_axis_tlast), .s_axis_tvalid(s_axis_tvalid),
        .s_axis_tready(s_axis_tready),
        .m_axis_tdata(m_axis_tdata), .m_axis_tlast(m_axis_tlast), .m_axis_tvalid(m_axis_tvalid),
        .m_axis_tready(m_axis_tready)
    );

    axis_rules #(.WIDTH(WIDTH + 1)) rules (
        .clk(clk), .rst(rst), .payload({m_axis_tlast, m_axis_tdata}), .tvalid(m_axis_tvalid),
        .tready(m_axis_tready)
    );

    axis_order #(.WIDTH(WIDTH + 1), .CAPACITY(DEPTH)) order (
        .clk(clk), .rst(rst), .mark(mark),
        .s_payload({s_axis_tlast, s_axis_tdata}), .s_tvalid(s_axis_tvalid),
        .s_tready(s_axis_tready),
        .m_payload({m_axis_tlast, m_axis_tdata}), .m_tvalid(m_axis_tvalid),
        .m_tready(m_axis_tready)
    );

    axis_progress #(.LIMIT(0)) progress (
        .clk(clk), .rst(rst), .s_tvalid(s_axis_tvalid), .s_tready(s_axis_tready),
        .m_tvalid(m_axis_tvalid), .m_tready(m_axis_tready)
    );

endmodule

`default_nettype wire
