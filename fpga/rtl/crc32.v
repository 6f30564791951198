// SPDX-License-Identifier: Apache-2.0
//
// CRC-32 of a stream of bits, that of Ethernet and of Python's zlib.crc32 where bytes come with
// their lowest bit first. One bit a clock, since a UART has no more.
//
// The check value is sent, or compared, serially too: with `drain` the register only shifts, and
// value[0] is the next bit of the check value, lowest first.

`default_nettype none

module crc32 (
    input  wire       clk,
    input  wire       init,   // start afresh
    input  wire       step,   // take data_bit
    input  wire       drain,  // shift the check value out instead
    input  wire       data_bit,
    output wire [7:0] value   // the next 8 bits of the check value
);

    localparam [31:0] POLYNOMIAL = 32'hEDB88320;

    reg [31:0] crc_reg;

    wire feedback = !drain && (crc_reg[0] ^ data_bit);

    assign value = ~crc_reg[7:0];

    always @(posedge clk)
        if (init)
            crc_reg <= 32'hFFFFFFFF;
        else if (step)
            crc_reg <= {1'b0, crc_reg[31:1]} ^ (feedback ? POLYNOMIAL : 32'd0);

endmodule

`default_nettype wire
