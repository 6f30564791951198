// SPDX-License-Identifier: Apache-2.0
//
// From an accumulator to the uint8 that leaves the layer, where the scales are powers of two.
//
//   y = clamp(round_half_even(acc / 2^SHIFT) + ZERO_POINT, LOW, HIGH)
//
// Equals model.network.rounding.Rounding.codes. Combinational.

`default_nettype none

module requantise #(
    parameter ACC_WIDTH  = 32,  // bits of the signed accumulator, 1..32
    parameter SHIFT      = 0,   // 0 or more
    parameter ZERO_POINT = 0,   // see clamp_code
    parameter LOW        = 0,
    parameter HIGH       = 255
) (
    input  wire signed [ACC_WIDTH-1:0] acc,
    output wire        [7:0]           y
);

    // Room for the quotient's 8 bits and its sign.
    localparam WIDTH = (ACC_WIDTH > SHIFT + 9) ? ACC_WIDTH : SHIFT + 9;

    wire signed [WIDTH-1:0]       extended = {{(WIDTH-ACC_WIDTH){acc[ACC_WIDTH-1]}}, acc};
    wire        [WIDTH-SHIFT-1:0] quotient = extended[WIDTH-1:SHIFT];
    wire                          round_up;

    generate
        if (SHIFT == 0) begin : gen_exact
            assign round_up = 1'b0;
        end else if (SHIFT == 1) begin : gen_half
            assign round_up = extended[0] && quotient[0];
        end else begin : gen_round
            // More than a half, or a half above an odd quotient.
            assign round_up = extended[SHIFT-1] && (|extended[SHIFT-2:0] || quotient[0]);
        end
    endgenerate

    clamp_code #(
        .WIDTH(WIDTH-SHIFT), .ZERO_POINT(ZERO_POINT), .LOW(LOW), .HIGH(HIGH)
    ) clamp (
        .quotient(quotient), .round_up(round_up), .y(y)
    );

endmodule

`default_nettype wire
