// SPDX-License-Identifier: Apache-2.0
//
// Takes the results of faulty images out of the stream: each image (up to its tlast) is passed on
// or swallowed whole, as the flag that frame_check gave for it says. Latency: 0 clocks.

`default_nettype none

module frame_drop #(
    parameter WIDTH = 32  // bits of a beat
) (
    input  wire [WIDTH-1:0] s_axis_tdata,
    input  wire             s_axis_tlast,
    input  wire             s_axis_tvalid,
    output wire             s_axis_tready,
    input  wire             s_flag_tdata,   // 1: swallow
    input  wire             s_flag_tvalid,
    output wire             s_flag_tready,
    output wire [WIDTH-1:0] m_axis_tdata,
    output wire             m_axis_tlast,
    output wire             m_axis_tvalid,
    input  wire             m_axis_tready
);

    assign m_axis_tdata  = s_axis_tdata;
    assign m_axis_tlast  = s_axis_tlast;
    assign m_axis_tvalid = s_axis_tvalid && s_flag_tvalid && !s_flag_tdata;
    assign s_axis_tready = s_flag_tvalid && (s_flag_tdata || m_axis_tready);
    assign s_flag_tready = s_axis_tvalid && s_axis_tready && s_axis_tlast;

endmodule

`default_nettype wire
