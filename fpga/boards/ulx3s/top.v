// SPDX-License-Identifier: Apache-2.0
//
// ULX3S (ECP5): PLL, reset and LEDs around the network and its link.
//
// LEDs: D0 to D3 the last digit in binary, D4 there is one, D5 the link works, D6 off, D7 blinks.
//
// fpga/build.py sets the parameters: fpga/boards.py knows the PLL's, the network the others.

`default_nettype none

module top #(
    // PLL
    parameter CLKI_DIV       = 1,
    parameter CLKFB_DIV      = 1,
    parameter CLKOP_DIV      = 8,
    // UART
    parameter BAUD_DIVISOR   = 8,      // clocks a bit
    parameter TIMEOUT        = 1000,   // clocks of silence that end a frame
    // The network, which the macro NETWORK names
    parameter IMAGE_BYTES    = 784,
    parameter BEAT_BYTES     = 1,
    parameter CLASSES        = 10,
    parameter LOGIT_LANES    = 1,
    parameter LAYERS         = 1,      // those with weights
    parameter IDENTITY_FILE  = "",     // path of identity.mem
    parameter IDENTITY_BYTES = 66
) (
    input  wire       clk_in,   // 25 MHz
    input  wire       uart_rx,
    output wire       uart_tx,
    output wire [7:0] led,
    output wire       wifi_gpio0
);

    wire clk;
    wire locked;

    // clk = clk_in / CLKI_DIV * CLKFB_DIV; the oscillator in the PLL runs at CLKOP_DIV times that. The
    // attributes set its loop filter, as Lattice's tools do.
    (* ICP_CURRENT = "12", LPF_RESISTOR = "8" *)
    (* MFG_ENABLE_FILTEROPAMP = "1", MFG_GMCREF_SEL = "2" *)
    EHXPLLL #(
        .CLKI_DIV     (CLKI_DIV),
        .CLKFB_DIV    (CLKFB_DIV),
        .CLKOP_DIV    (CLKOP_DIV),
        .CLKOP_ENABLE ("ENABLED"),
        .CLKOP_CPHASE (CLKOP_DIV - 1),
        .CLKOP_FPHASE (0),
        .FEEDBK_PATH  ("CLKOP")
    ) pll (
        .CLKI(clk_in), .CLKFB(clk), .CLKOP(clk), .LOCK(locked),
        .RST(1'b0), .STDBY(1'b0), .PLLWAKESYNC(1'b0), .ENCLKOP(1'b0),
        .PHASESEL0(1'b0), .PHASESEL1(1'b0), .PHASEDIR(1'b0), .PHASESTEP(1'b0), .PHASELOADREG(1'b0)
    );

    wire rst;

    power_on_reset power_on_reset (
        .clk(clk), .locked(locked), .rst(rst)
    );

    wire [3:0] digit;
    wire       digit_valid;
    wire       active;

    board_core #(
        .IMAGE_BYTES(IMAGE_BYTES), .BEAT_BYTES(BEAT_BYTES),
        .CLASSES(CLASSES), .LOGIT_LANES(LOGIT_LANES), .LAYERS(LAYERS),
        .IDENTITY_FILE(IDENTITY_FILE), .IDENTITY_BYTES(IDENTITY_BYTES),
        .BAUD_DIVISOR(BAUD_DIVISOR), .TIMEOUT(TIMEOUT)
    ) core (
        .clk(clk), .rst(rst), .uart_rx(uart_rx), .uart_tx(uart_tx),
        .digit(digit), .digit_valid(digit_valid), .active(active)
    );

    wire alive;
    wire busy;

    status_leds status_leds (
        .clk(clk), .active(active), .alive(alive), .busy(busy)
    );

    // Low, it can make the ESP32 on the board start over and load a design of its own.
    assign wifi_gpio0 = 1'b1;

    assign led = {alive, 1'b0, busy, digit_valid, digit};

endmodule

`default_nettype wire
