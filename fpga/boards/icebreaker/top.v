// SPDX-License-Identifier: Apache-2.0
//
// iCEBreaker (iCE40 UP5K): PLL, reset and LEDs around the network and its link.
//
// LEDs: LED1 to LED4 the last digit in binary, LED5 there is one; LEDG the link works, LEDR blinks.
//
// fpga/build.py sets the parameters: fpga/boards.py knows the PLL's, the network the others.

`default_nettype none

module top #(
    // PLL
    parameter DIVR           = 0,
    parameter DIVF           = 63,
    parameter DIVQ           = 5,
    parameter FILTER_RANGE   = 1,
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
    input  wire       clk_in,   // 12 MHz
    input  wire       uart_rx,
    output wire       uart_tx,
    output wire       led_red_n,
    output wire       led_green_n,
    output wire [4:0] led
);

    wire clk;
    wire locked;

    // clk = clk_in / (DIVR + 1) * (DIVF + 1) / 2^DIVQ
    SB_PLL40_PAD #(
        .FEEDBACK_PATH ("SIMPLE"),
        .DIVR          (DIVR[3:0]),
        .DIVF          (DIVF[6:0]),
        .DIVQ          (DIVQ[2:0]),
        .FILTER_RANGE  (FILTER_RANGE[2:0])
    ) pll (
        .PACKAGEPIN(clk_in), .PLLOUTGLOBAL(clk), .LOCK(locked), .RESETB(1'b1), .BYPASS(1'b0)
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

    assign led_red_n   = !alive;
    assign led_green_n = !busy;
    assign led         = {digit_valid, digit};

endmodule

`default_nettype wire
