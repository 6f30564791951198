// SPDX-License-Identifier: Apache-2.0
//
// The same as `products`, in plain logic: for layers that need more multipliers than a device has
// DSP blocks. No synthesis tool takes this for a multiplier. A weight that never changes folds into
// a few additions.
//
//   y[i] = x[i] * w[i], exact
//
// Booth's radix 4: w = d0 + 4*d1 + 16*d2 + 64*d3 with digits from -2 to 2, so there are four rows
// to add, not eight.
// Latency: 2 clocks.

`default_nettype none

module lut_products #(
    parameter COUNT = 1
) (
    input  wire                clk,
    input  wire [8*COUNT-1:0]  x,  // uint8, element i at bits 8*i
    input  wire [8*COUNT-1:0]  w,  // int8, element i at bits 8*i
    output wire [16*COUNT-1:0] y   // int16, element i at bits 16*i
);

    // d*x in one's complement, without its sign: where the upper bit of the digit is set it is
    // negative and lacks 1.
    function [8:0] row;
        input [2:0] digit;  // bits 2k+1, 2k and 2k-1 of the weight
        input [7:0] multiplicand;
        row = ((digit[1] ^ digit[0]) ? {1'b0, multiplicand} :
               (digit[2] ^ digit[1]) ? {multiplicand, 1'b0} : 9'd0) ^ {9{digit[2]}};
    endfunction

    genvar i;
    generate
        for (i = 0; i < COUNT; i = i + 1) begin : gen_product
            wire [7:0] multiplicand = x[8*i +: 8];
            wire [7:0] weight       = w[8*i +: 8];

            reg signed [9:0]  row0_reg, row1_reg, row2_reg, row3_reg;
            reg signed [15:0] y_reg;

            // Below each row there is room for what the one before lacks.
            wire signed [12:0] lower  = row0_reg + $signed({row1_reg, 1'b0, row0_reg[9]});
            wire signed [12:0] higher = row2_reg + $signed({row3_reg, 1'b0, row2_reg[9]});

            always @(posedge clk) begin
                row0_reg <= {weight[1], row({weight[1:0], 1'b0}, multiplicand)};
                row1_reg <= {weight[3], row(weight[3:1], multiplicand)};
                row2_reg <= {weight[5], row(weight[5:3], multiplicand)};
                row3_reg <= {weight[7], row(weight[7:5], multiplicand)};
                y_reg    <= lower + $signed({higher, 1'b0, row1_reg[9], 2'b0})
                          + $signed({1'b0, row3_reg[9], 6'b0});
            end

            assign y[16*i +: 16] = y_reg;
        end
    endgenerate

endmodule

`default_nettype wire
