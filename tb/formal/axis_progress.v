// SPDX-License-Identifier: Apache-2.0
//
// No deadlock: where the source offers a beat and the sink would take one, one of the two moves
// after at most LIMIT clocks.

`default_nettype none

module axis_progress #(
    parameter LIMIT = 0
) (
    input wire clk,
    input wire rst,
    input wire s_tvalid,
    input wire s_tready,
    input wire m_tvalid,
    input wire m_tready
);

    reg [$clog2(LIMIT + 2)-1:0] idle = 0;

    wire stuck = s_tvalid && m_tready && !s_tready && !m_tvalid;

    always @(posedge clk)
        idle <= (stuck && !rst) ? idle + 1'b1 : 0;

    always @* assert (!stuck || idle < LIMIT);

endmodule

`default_nettype wire
