// SPDX-License-Identifier: Apache-2.0
//
// iCE40's PLL as far as a simulation needs it: the clock that goes in comes out, and after some
// clocks it is locked. What the dividers make of it is for the place-and-route tools to know.

`default_nettype none

module SB_PLL40_PAD #(
    parameter       FEEDBACK_PATH = "SIMPLE",
    parameter [3:0] DIVR          = 0,
    parameter [6:0] DIVF          = 0,
    parameter [2:0] DIVQ          = 0,
    parameter [2:0] FILTER_RANGE  = 0
) (
    input  wire PACKAGEPIN,
    input  wire RESETB,
    input  wire BYPASS,
    output wire PLLOUTGLOBAL,
    output wire LOCK
);

    reg [3:0] count_reg = 0;
    assign PLLOUTGLOBAL = PACKAGEPIN;
    assign LOCK         = &count_reg;

    always @(posedge PACKAGEPIN)
        count_reg <= RESETB ? count_reg + {3'b000, !LOCK} : 4'd0;

    wire unused = &{1'b0, BYPASS};

endmodule

`default_nettype wire
