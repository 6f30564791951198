// SPDX-License-Identifier: Apache-2.0
//
// Two lights for an eye: `alive` blinks as long as the clock runs, `busy` makes even the shortest
// `active` visible. Both go by a counter of WIDTH bits: at 2^WIDTH clocks a second, alive is on for
// half a second and busy for at least 1/16 s.

`default_nettype none

module status_leds #(
    parameter WIDTH = 24  // at least 5
) (
    input  wire clk,
    input  wire active,
    output wire alive,
    output wire busy
);

    reg [WIDTH-1:0] count_reg = 0;
    reg             seen_reg  = 1'b0;  // active since the last tick
    reg             busy_reg  = 1'b0;  // active between the two ticks before that
    wire            tick      = count_reg[WIDTH-5:0] == 0;
    assign alive = count_reg[WIDTH-1];
    assign busy  = busy_reg;

    always @(posedge clk) begin
        count_reg <= count_reg + 1'b1;
        seen_reg  <= active || (seen_reg && !tick);
        if (tick)
            busy_reg <= seen_reg;
    end

endmodule

`default_nettype wire
