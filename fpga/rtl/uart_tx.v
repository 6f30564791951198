// SPDX-License-Identifier: Apache-2.0
//
// UART transmitter, 8 data bits, no parity, one stop bit, lowest bit first. The line is a register.

`default_nettype none

module uart_tx #(
    parameter BAUD_DIVISOR = 8  // clocks a bit
) (
    input  wire       clk,
    input  wire       rst,
    input  wire [7:0] data,
    input  wire       valid,
    output wire       ready,          // from the end of the stop bit on
    output wire       data_bit,       // a data bit while the byte goes out, for a serial CRC
    output wire       data_bit_valid, // for one clock, the last one of the bit
    output wire       tx
);

    localparam COUNT_WIDTH = (BAUD_DIVISOR > 1) ? $clog2(BAUD_DIVISOR) : 1;
    localparam DIVISOR_LAST = BAUD_DIVISOR - 1;

    // Bits still to go out, the present one included: start bit, 8 data bits, stop bit.
    localparam [3:0] BITS = 10, FIRST = 9, STOP = 1;

    reg [8:0]             shift_reg = 9'h1FF;
    reg [3:0]             bits_reg  = 0;
    reg [COUNT_WIDTH-1:0] count_reg = 0;

    wire tick = bits_reg != 0 && count_reg == 0;

    assign tx             = shift_reg[0];
    assign ready          = bits_reg == 0;
    assign data_bit       = shift_reg[0];
    assign data_bit_valid = tick && bits_reg <= FIRST && bits_reg != STOP;

    always @(posedge clk) begin
        if (tick || ready)
            count_reg <= DIVISOR_LAST[COUNT_WIDTH-1:0];
        else
            count_reg <= count_reg - 1'b1;
        if (ready && valid) begin
            shift_reg <= {data, 1'b0};
            bits_reg  <= BITS;
        end else if (tick) begin
            shift_reg <= {1'b1, shift_reg[8:1]};
            bits_reg  <= bits_reg - 1'b1;
        end
        if (rst) begin
            shift_reg <= 9'h1FF;
            bits_reg  <= 0;
            count_reg <= 0;
        end
    end

endmodule

`default_nettype wire
