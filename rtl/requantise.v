// SPDX-License-Identifier: Apache-2.0
//
// From an accumulator to the uint8 that leaves the layer.
//
//   y = clamp(round_half_even(acc / 2^SHIFT), 0, 255); the lower clamp is the ReLU
//
// Equals model.network.reference.requantise. Combinational.

`default_nettype none

module requantise #(
    parameter ACC_WIDTH = 32,  // bits of the signed accumulator, 1..32
    parameter SHIFT     = 0    // s = a_in + w - a_out, 0 or more
) (
    input  wire signed [ACC_WIDTH-1:0] acc,
    output wire        [7:0]           y
);

    // Room for the quotient's 8 bits and its sign.
    localparam WIDTH = (ACC_WIDTH > SHIFT + 9) ? ACC_WIDTH : SHIFT + 9;

    wire signed [WIDTH-1:0] extended = {{(WIDTH-ACC_WIDTH){acc[ACC_WIDTH-1]}}, acc};
    wire        [7:0]       quotient = extended[SHIFT +: 8];
    wire                    negative = extended[WIDTH-1];
    wire                    round_up;

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

    // Rounding makes -1 a zero at most, which is what it is clamped to; from 255 on all is 255. So
    // both clamps look at the quotient alone, beside the addition.
    wire above    = &quotient || |(extended >> (SHIFT + 8));
    assign y = negative ? 8'd0 : above ? 8'd255 : quotient + {7'b0, round_up};

endmodule

`default_nettype wire
