// SPDX-License-Identifier: Apache-2.0
//
// y is acc / 2^SHIFT rounded to the nearest integer, a tie to the even one, then clamped to 0..255,
// for every acc and every SHIFT up to SHIFTS - 1. Said by distances, not by a way to compute it.

`default_nettype none

module requantise_formal #(
    parameter ACC_WIDTH = 32,
    parameter SHIFTS    = 40
) (
    input wire signed [ACC_WIDTH-1:0] acc
);

    // Twice the accumulator and twice any quotient times 2^SHIFT fit.
    localparam WIDTH = ACC_WIDTH + SHIFTS + 12;
    wire signed [WIDTH-1:0] twice = {{(WIDTH-1-ACC_WIDTH){acc[ACC_WIDTH-1]}}, acc, 1'b0};

    genvar shift;
    generate
        for (shift = 0; shift < SHIFTS; shift = shift + 1) begin : gen_shift
            wire [7:0] y;
            requantise #(
                .ACC_WIDTH(ACC_WIDTH), .SHIFT(shift)
            ) dut (
                .acc(acc), .y(y)
            );

            // Twice the distance of acc from y * 2^SHIFT, in units of which 2^SHIFT make a tie.
            wire signed [WIDTH-1:0] tie      = {{(WIDTH-1){1'b0}}, 1'b1} << shift;
            wire signed [WIDTH-1:0] quotient = {{(WIDTH-9){1'b0}}, y, 1'b0};
            wire signed [WIDTH-1:0] distance = twice - (quotient <<< shift);

            always @* begin
                // Not too far above y, unless nothing higher can be said; likewise below.
                assert (y == 8'd255 || distance < tie || (distance == tie && !y[0]));
                assert (y == 8'd0 || distance > -tie || (distance == -tie && !y[0]));
            end
        end
    endgenerate

endmodule

`default_nettype wire
