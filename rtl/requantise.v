// SPDX-License-Identifier: Apache-2.0
//
// From an accumulator to what leaves the layer.
//
//   OUT_WIDTH  8: y = clamp(round_half_even(acc / 2^SHIFT), 0, 255); the lower clamp is the ReLU
//   OUT_WIDTH 32: y = acc, sign-extended: the logits
//
// Equals model.reference.requantise. Combinational.

`default_nettype none

module requantise #(
    parameter ACC_WIDTH = 32,  // bits of the signed accumulator, 1..32
    parameter SHIFT     = 0,   // s = a_in + w - a_out, 0 or more
    parameter OUT_WIDTH = 8    // 8 or 32
) (
    input  wire signed [ACC_WIDTH-1:0] acc,
    output wire        [OUT_WIDTH-1:0] y
);

    generate
        if (OUT_WIDTH == 8) begin : gen_uint8
            // Room for acc plus the rounding constant, whichever is the wider.
            localparam WIDTH = ((ACC_WIDTH > SHIFT + 9) ? ACC_WIDTH : SHIFT + 9) + 1;

            wire signed [WIDTH-1:0] extended = {{(WIDTH-ACC_WIDTH){acc[ACC_WIDTH-1]}}, acc};
            wire signed [WIDTH-1:0] rounded;

            if (SHIFT == 0) begin : gen_exact
                assign rounded = extended;
            end else begin : gen_round
                // Adding 2^(SHIFT-1) - 1 rounds halves down; one more, where the quotient is odd,
                // rounds those halves up to the even neighbour.
                localparam signed [WIDTH-1:0] BELOW_HALF =
                    ({{(WIDTH-1){1'b0}}, 1'b1} << (SHIFT - 1)) - 1;
                wire signed [WIDTH-1:0] odd = {{(WIDTH-1){1'b0}}, extended[SHIFT]};
                assign rounded = (extended + BELOW_HALF + odd) >>> SHIFT;
            end

            assign y = rounded[WIDTH-1]      ? 8'd0   :
                       (|rounded[WIDTH-2:8]) ? 8'd255 : rounded[7:0];
        end else if (OUT_WIDTH == 32) begin : gen_logit
            if (ACC_WIDTH < 32) begin : gen_extend
                assign y = {{(32-ACC_WIDTH){acc[ACC_WIDTH-1]}}, acc};
            end else begin : gen_same
                assign y = acc;
            end
        end else begin : gen_bad_out_width
            error_OUT_WIDTH_must_be_8_or_32 error();
        end
    endgenerate

endmodule

`default_nettype wire
