// SPDX-License-Identifier: Apache-2.0
//
// From a quotient and its rounding to the uint8 code that leaves a layer.
//
//   y = clamp(quotient + round_up + ZERO_POINT, LOW, HIGH)
//
// Combinational.

`default_nettype none

module clamp_code #(
    parameter WIDTH      = 9,   // bits of the signed quotient, 9 or more
    parameter ZERO_POINT = 0,   // code of zero, 0..255
    parameter LOW        = 0,   // least code, 0..255; the zero point is a ReLU
    parameter HIGH       = 255  // greatest code, LOW..255
) (
    input  wire [WIDTH-1:0] quotient,
    input  wire             round_up,
    output wire [7:0]       y
);

    localparam [8:0] CODE_LOW  = LOW[8:0] - ZERO_POINT[8:0];
    localparam [8:0] CODE_HIGH = HIGH[8:0] - ZERO_POINT[8:0];

    generate
        if (LOW < 0 || LOW > HIGH || HIGH > 255) begin : gen_bad_range
            error_LOW_and_HIGH_must_be_0_to_255_in_this_order error();
        end
        if (ZERO_POINT < 0 || ZERO_POINT > 255) begin : gen_bad_zero_point
            error_ZERO_POINT_must_be_0_to_255 error();
        end
    endgenerate

    // Signed value >= bound, from the lowest bit up. A constant bound needs no carry chain.
    function at_least;
        input [WIDTH-1:0] value;
        input [8:0]       bound;
        integer i;
        begin
            at_least = 1'b1;
            for (i = 0; i < WIDTH - 1; i = i + 1)
                at_least = bound[(i < 8) ? i : 8] ? value[i] && at_least : value[i] || at_least;
            at_least = bound[8] ? !value[WIDTH-1] || at_least : !value[WIDTH-1] && at_least;
        end
    endfunction

    // Rounding takes a quotient to the next bound at most, never across. So both clamps look at the
    // quotient alone, beside the addition.
    assign y = !at_least(quotient, CODE_LOW) ? LOW[7:0]
             : at_least(quotient, CODE_HIGH) ? HIGH[7:0]
             : quotient[7:0] + ZERO_POINT[7:0] + {7'b0, round_up};

endmodule

`default_nettype wire
