// SPDX-License-Identifier: Apache-2.0
//
// Rounds a product of an accumulator and a scale to an integer.
//
//   quotient + round_up = round(product / 2^SHIFT)
//
//   EXACT 0: a half goes up.
//   EXACT 1: a half goes to the even integer, and so does all that float32 would round to a half:
//            no further from it than half a unit in the last of 24 bits. This window's upper end
//            is outside.
//   EXACT 2: the same with both ends inside.
//
// EXACT is right for quotients from -256 to 255; others are clamped anyway. Combinational.

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

    // The window is narrowest around one half: so many bits behind the point.
    localparam FINE  = 25;
    localparam EXTRA = (EXACT != 0 && SHIFT < FINE) ? FINE + 1 - SHIFT : 1;
    localparam POINT = SHIFT + EXTRA;  // bits of the fraction
    localparam LAST  = POINT - FINE;

    wire [QUOTIENT+SHIFT-1:0] extended;
    wire [POINT-1:0]          fraction = {extended[SHIFT-1:0], {EXTRA{1'b0}}};

    assign extended[WIDTH-1:0] = product;
    assign quotient            = extended[QUOTIENT+SHIFT-1:SHIFT];

    generate
        if (QUOTIENT + SHIFT > WIDTH) begin : gen_extend
            assign extended[QUOTIENT+SHIFT-1:WIDTH] = {(QUOTIENT+SHIFT-WIDTH){product[WIDTH-1]}};
        end

        if (EXACT == 0) begin : gen_half_up
            wire unused = &{1'b0, fraction[POINT-2:0]};
            assign round_up = fraction[POINT-1];
        end else begin : gen_float
            // Above an odd quotient the fraction's complement tells what rounds down. Half a unit
            // stands at LAST, and a place higher from each power of two on.
            wire             odd    = quotient[0];
            wire [7:0]       whole  = quotient[7:0] ^ {8{quotient[QUOTIENT-1]}};
            wire             closed = EXACT == 2 && |fraction;
            wire [POINT-1:0] beyond = odd ? ~fraction : fraction - {{(POINT-1){1'b0}}, closed};
            wire [8:0]       past;
            wire             unused = &{1'b0, beyond[LAST-1:0]};

            genvar place;
            for (place = 0; place < 9; place = place + 1) begin : gen_place
                assign past[place] = beyond[LAST+place] && {1'b0, whole} >> place == 0;
            end

            wire far = |beyond[POINT-2:LAST+9] || |past;
            assign round_up = odd ^ (beyond[POINT-1] && far);
        end
    endgenerate

endmodule

`default_nettype wire
