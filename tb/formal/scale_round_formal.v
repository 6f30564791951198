// SPDX-License-Identifier: Apache-2.0
//
// scale_round rounds to the nearest integer, and a half, with what float32 takes for one, to the
// even one; for every product whose quotient is from -256 to 255. Said by distances.

`default_nettype none

module scale_round_formal #(
    parameter SHIFT = 24,
    parameter EXACT = 1,
    parameter WIDTH = SHIFT + 10
) (
    input wire [WIDTH-1:0] product
);

    localparam QUOTIENT = (WIDTH > SHIFT + 9) ? WIDTH - SHIFT : 9;

    wire [QUOTIENT-1:0] quotient;
    wire                round_up;

    scale_round #(
        .WIDTH(WIDTH), .SHIFT(SHIFT), .EXACT(EXACT)
    ) dut (
        .product(product), .quotient(quotient), .round_up(round_up)
    );

    // Everything in 2^-26 of the product's unit, where any half unit of float32 is whole.
    localparam FINE = 26;
    localparam LONG = SHIFT + FINE + 12;
    wire signed [LONG-1:0] whole    = {{(LONG-WIDTH){product[WIDTH-1]}}, product};
    wire signed [LONG-1:0] result   = {{(LONG-QUOTIENT){quotient[QUOTIENT-1]}}, quotient}
                                    + {{(LONG-1){1'b0}}, round_up};
    wire signed [LONG-1:0] distance = (whole <<< FINE) - (result <<< (SHIFT + FINE));
    wire signed [LONG-1:0] half     = {{(LONG-1){1'b0}}, 1'b1} << (SHIFT + FINE - 1);

    // Half a unit in the last place at the half above or below a result.
    function [LONG-1:0] window;
        input signed [LONG-1:0] middle;  // twice that half, which is odd
        integer place;
        begin
            window = 0;
            for (place = 0; place < 9; place = place + 1)
                if ((middle < 0 ? -middle : middle) >> place == 1)
                    window = {{(LONG-1){1'b0}}, 1'b1} << (SHIFT + FINE - 25 + place);
        end
    endfunction

    wire signed [LONG-1:0] over  = (EXACT == 0) ? 0 : window(2*result + 1);
    wire signed [LONG-1:0] under = (EXACT == 0) ? 0 : window(2*result - 1);
    wire even = !result[0];

    always @*
        if (whole >= -(256 <<< SHIFT) && whole < (256 <<< SHIFT)) begin
            if (EXACT == 0)
                assert (distance >= -half && distance < half);
            if (EXACT == 1)
                assert (even ? distance >= -half - under && distance < half + over
                             : distance >= -half + under && distance < half - over);
            if (EXACT == 2)
                assert (even ? distance >= -half - under && distance <= half + over
                             : distance > -half + under && distance < half - over);
        end

endmodule

`default_nettype wire
