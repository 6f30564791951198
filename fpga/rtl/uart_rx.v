// SPDX-License-Identifier: Apache-2.0
//
// UART receiver, 8 data bits, no parity, one stop bit, lowest bit first.
//
// Bits are sampled once, in their middle as seen from the falling edge of the start bit; the
// middle of the start bit must still be low, which sorts out spikes. A stop bit that is low gives
// framing_error instead of valid. After that, as at the start, only another falling edge begins a
// byte: a line that stays low is one byte of nothing, however long.

`default_nettype none

module uart_rx #(
    parameter BAUD_DIVISOR = 8  // clocks a bit, at least 8
) (
    input  wire       clk,
    input  wire       rst,
    input  wire       rx,             // asynchronous
    output wire       line,           // rx, synchronised
    output wire       data_bit,       // a data bit while the byte comes in, for a serial CRC
    output wire       data_bit_valid, // for one clock
    output reg  [7:0] data,           // the byte, until the next one comes in
    output wire       valid,          // for one clock, in the middle of the stop bit
    output wire       framing_error   // likewise
);

    localparam COUNT_WIDTH = $clog2(BAUD_DIVISOR);
    localparam DIVISOR_LAST = BAUD_DIVISOR - 1;
    // The edge was up to a clock before the one that shows it.
    localparam HALF_LAST = (BAUD_DIVISOR - 1) / 2 - 1;

    localparam [3:0] IDLE = 0, START = 1, FIRST = 2, STOP = 10;

    generate
        if (BAUD_DIVISOR < 8) begin : gen_bad_divisor
            error_BAUD_DIVISOR_must_be_at_least_8 error();
        end
    endgenerate

    reg [2:0]             line_reg  = 3'b111;  // two to synchronise, one to see edges
    reg [3:0]             state_reg = IDLE;
    reg [COUNT_WIDTH-1:0] count_reg = 0;

    wire fell   = line_reg[2] && !line_reg[1];
    wire sample = state_reg != IDLE && count_reg == 0;

    assign line           = line_reg[1];
    assign data_bit       = line;
    assign data_bit_valid = sample && state_reg >= FIRST && state_reg != STOP;
    assign valid          = sample && state_reg == STOP && line;
    assign framing_error  = sample && state_reg == STOP && !line;

    always @(posedge clk) begin
        line_reg <= {line_reg[1:0], rx};
        if (data_bit_valid)
            data <= {line, data[7:1]};
        if (state_reg == IDLE) begin
            count_reg <= HALF_LAST[COUNT_WIDTH-1:0];
            if (fell)
                state_reg <= START;
        end else if (sample) begin
            count_reg <= DIVISOR_LAST[COUNT_WIDTH-1:0];
            if (state_reg == STOP || (state_reg == START && line))
                state_reg <= IDLE;
            else
                state_reg <= state_reg + 1'b1;
        end else begin
            count_reg <= count_reg - 1'b1;
        end
        if (rst) begin
            line_reg  <= 3'b111;
            state_reg <= IDLE;
            count_reg <= 0;
        end
    end

endmodule

`default_nettype wire
