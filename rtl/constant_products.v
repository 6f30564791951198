// SPDX-License-Identifier: Apache-2.0
//
// The same as `products`, for weights that never change: each folds into a few additions. No
// synthesis tool takes this for a multiplier.
//
//   y[i] = x[i] * w[i], exact
//
// Booth's radix 4: w = d0 + 4*d1 + 16*d2 + 64*d3 with digits from -2 to 2, so there are four rows
// to add, not eight.
// Latency: 2 clocks.

`default_nettype none

module constant_products #(
    parameter COUNT = 1
) (
    input  wire                clk,
    input  wire [8*COUNT-1:0]  x,  // uint8, element i at bits 8*i
    input  wire [8*COUNT-1:0]  w,  // int8, element i at bits 8*i
    output wire [16*COUNT-1:0] y   // int16, element i at bits 16*i
);

    // Digit times x in one's complement; where the digit's upper bit is set, that is, where the row
    // is negative, it lacks 1.
    function [9:0] row;
        input [7:0] multiplicand;
        input [2:0] digit;  // bits 2k+1, 2k and 2k-1 of the weight
        row = ((digit[1] ^ digit[0]) ? {2'b0, multiplicand} :
               (digit[2] ^ digit[1]) ? {1'b0, multiplicand, 1'b0} : 10'd0) ^ {10{digit[2]}};
    endfunction

    // Those of element i from bit 40*i on. The last one is whole: below it all room is taken.
    function [40*COUNT-1:0] rows;
        input [8*COUNT-1:0] activations, weights;
        integer i;
        reg [8:0] weight;
        for (i = 0; i < COUNT; i = i + 1) begin
            weight = {weights[8*i +: 8], 1'b0};
            rows[40*i +: 40] = {row(activations[8*i +: 8], weight[8:6]) + {9'b0, weight[8]},
                                row(activations[8*i +: 8], weight[6:4]),
                                row(activations[8*i +: 8], weight[4:2]),
                                row(activations[8*i +: 8], weight[2:0])};
        end
    endfunction

    // Below each row there is room for what the one before lacks.
    function [16*COUNT-1:0] sums;
        input [40*COUNT-1:0] all;
        integer i;
        reg [39:0] r;
        reg [12:0] lower;  // rows 0 and 1
        reg [11:0] upper;  // rows 2 and 3, as far as they matter
        for (i = 0; i < COUNT; i = i + 1) begin
            r     = all[40*i +: 40];
            lower = {{3{r[9]}}, r[9:0]} + {r[19], r[19:10], 1'b0, r[9]};
            upper = {{2{r[29]}}, r[29:20]} + {r[39:30], 1'b0, r[29]};
            sums[16*i +: 16] = {{3{lower[12]}}, lower} + {upper, 1'b0, r[19], 2'b0};
        end
    endfunction

    reg [40*COUNT-1:0] rows_reg;
    reg [16*COUNT-1:0] y_reg;

    assign y = y_reg;

    always @(posedge clk) begin
        rows_reg <= rows(x, w);
        y_reg    <= sums(rows_reg);
    end

endmodule

`default_nettype wire
