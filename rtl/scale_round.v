// SPDX-License-Identifier: Apache-2.0
//
// Rounds a product of an accumulator and a scale to an integer.
//
//   quotient + round_up = round(product / 2^SHIFT)
//
//   EXACT 0: a half goes up.
//   EXACT 1: a half goes to the even integer, as does what float32, with its 24 bits, rounds to a
//            half: all that is no further from it than half a unit in the last place of float32.
//
// EXACT is exact for quotients from -256 to 255; others are clamped anyway. Combinational.

`default_nettype none

module scale_round #(
    parameter WIDTH    = 56,  // bits of the signed product
    parameter SHIFT    = 24,  // 1 or more
    parameter EXACT    = 0,
    parameter QUOTIENT = (WIDTH > SHIFT + 9) ? WIDTH - SHIFT : 9
) (
    input  wire [WIDTH-1:0]    product,
    output wire [QUOTIENT-1:0] quotient,  // signed
    output wire                round_up
);

    // Bits behind the point, of which the exact form has at least FINE + 1.
    localparam FINE  = 25;
    localparam EXTRA = (EXACT != 0 && SHIFT < FINE + 1) ? FINE + 1 - SHIFT : 1;
    localparam POINT = SHIFT + EXTRA;

    wire signed [QUOTIENT+SHIFT-1:0] extended;
    wire        [POINT-1:0]          fraction;

    assign extended[WIDTH-1:0]    = product;
    assign quotient               = extended[QUOTIENT+SHIFT-1:SHIFT];
    assign fraction               = {extended[SHIFT-1:0], {EXTRA{1'b0}}};

    generate
        if (QUOTIENT + SHIFT > WIDTH) begin : gen_extend
            assign extended[QUOTIENT+SHIFT-1:WIDTH] = {(QUOTIENT+SHIFT-WIDTH){product[WIDTH-1]}};
        end
        if (EXACT == 0) begin : gen_half_up
            wire unused = &{1'b0, fraction[POINT-2:0]};
            assign round_up = fraction[POINT-1];
        end else begin : gen_float
            // Above an odd quotient the complement of what rounds down there is what rounds up
            // above an even one, ends of the window apart.
            localparam LAST = POINT - FINE;  // place of half a unit for a half, which is least
            wire             odd    = quotient[0];
            wire [POINT-1:0] beyond = odd ? ~fraction : fraction;

            // Half a unit is at LAST, and a place higher from each power of two on.
            wire [7:0] whole = extended[QUOTIENT+SHIFT-1] ? ~quotient[7:0] : quotient[7:0];
            wire [8:0] from;  // half a unit is at LAST + i or higher
            wire [8:0] near = beyond[LAST+8:LAST];
            wire [8:0] at   = from & ~{1'b0, from[8:1]};
            assign from[0] = 1'b1;

            genvar i;
            for (i = 0; i < 8; i = i + 1) begin : gen_from
                assign from[i+1] = |whole[7:i];
            end

            wire above = |beyond[POINT-2:LAST+9] || |(near & ~from);
            wire below = |beyond[LAST-1:0] || |(near & {1'b0, from[8:1]});
            wire unit  = |(near & at);
            wire past  = beyond[POINT-1] && (above || (unit && (odd || below)));
            assign round_up = past ^ odd;
        end
    endgenerate

endmodule

`default_nettype wire
