// SPDX-License-Identifier: Apache-2.0
//
// Gives every beat of a stream to READERS readers, each of which takes it when it can.
//
// A reader that has taken a beat waits for the others before it sees the next one; a FIFO in front
// of a reader lets the others go ahead. No tvalid depends on a tready. Latency: 0 clocks.

`default_nettype none

module axis_fork #(
    parameter WIDTH   = 8,  // bits of tdata
    parameter READERS = 2
) (
    input  wire                     clk,
    input  wire                     rst,
    input  wire [WIDTH-1:0]         s_axis_tdata,
    input  wire                     s_axis_tlast,
    input  wire                     s_axis_tvalid,
    output wire                     s_axis_tready,
    output wire [WIDTH*READERS-1:0] m_axis_tdata,  // the first reader's lowest, as in all below
    output wire [READERS-1:0]       m_axis_tlast,
    output wire [READERS-1:0]       m_axis_tvalid,
    input  wire [READERS-1:0]       m_axis_tready
);

    reg  [READERS-1:0] taken_reg = 0;  // readers that have taken the beat before this clock
    wire [READERS-1:0] taken     = taken_reg | m_axis_tready;

    assign m_axis_tdata  = {READERS{s_axis_tdata}};
    assign m_axis_tlast  = {READERS{s_axis_tlast}};
    assign m_axis_tvalid = {READERS{s_axis_tvalid}} & ~taken_reg;
    assign s_axis_tready = &taken;

    always @(posedge clk) begin
        if (s_axis_tvalid)
            taken_reg <= s_axis_tready ? {READERS{1'b0}} : taken;
        if (rst)
            taken_reg <= 0;
    end

endmodule

`default_nettype wire
