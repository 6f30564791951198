// SPDX-License-Identifier: Apache-2.0
//
// What AXI4-Stream asks of whoever drives a stream: tvalid never waits for tready, so a beat that is
// not taken stays, and does not change. Assumed at a module's inputs, asserted at its outputs.
// A reset ends every obligation.

`default_nettype none

module axis_rules #(
    parameter WIDTH  = 8,  // bits of everything that goes with tvalid
    parameter ASSUME = 0   // 1: assume the rules, 0: assert them
) (
    input wire             clk,
    input wire             rst,
    input wire [WIDTH-1:0] payload,
    input wire             tvalid,
    input wire             tready
);

    reg             stalled = 1'b0;
    reg [WIDTH-1:0] held;

    always @(posedge clk) begin
        stalled <= tvalid && !tready && !rst;
        held    <= (tvalid && !tready) ? payload : 0;
    end

    generate
        if (ASSUME != 0) begin : gen_assume
            always @* if (stalled) assume (tvalid && payload == held);
        end else begin : gen_assert
            always @* if (stalled) assert (tvalid && payload == held);
        end
    endgenerate

endmodule

`default_nettype wire
