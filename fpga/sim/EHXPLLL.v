// SPDX-License-Identifier: Apache-2.0
//
// ECP5's PLL as far as a simulation needs it: the clock that goes in comes out, and after some
// clocks it is locked. What the dividers make of it is for the place-and-route tools to know.

`default_nettype none

module EHXPLLL #(
    parameter CLKI_DIV     = 1,
    parameter CLKFB_DIV    = 1,
    parameter CLKOP_DIV    = 8,
    parameter CLKOP_ENABLE = "ENABLED",
    parameter CLKOP_CPHASE = 0,
    parameter CLKOP_FPHASE = 0,
    parameter FEEDBK_PATH  = "CLKOP"
) (
    input  wire CLKI,
    input  wire CLKFB,
    input  wire RST,
    input  wire STDBY,
    input  wire PLLWAKESYNC,
    input  wire ENCLKOP,
    input  wire PHASESEL0,
    input  wire PHASESEL1,
    input  wire PHASEDIR,
    input  wire PHASESTEP,
    input  wire PHASELOADREG,
    output wire CLKOP,
    output wire LOCK
);

    reg [3:0] count_reg = 0;
    assign CLKOP = CLKI;
    assign LOCK  = &count_reg;

    always @(posedge CLKI)
        count_reg <= RST ? 4'd0 : count_reg + {3'b000, !LOCK};

    wire unused = &{1'b0, CLKFB, STDBY, PLLWAKESYNC, ENCLKOP, PHASESEL0, PHASESEL1, PHASEDIR,
                    PHASESTEP, PHASELOADREG};

endmodule

`default_nettype wire
