// SPDX-License-Identifier: Apache-2.0
//
// The same as `products`, in plain logic: for layers that need more multipliers than a device has
// DSP blocks. No synthesis tool takes this for a multiplier.
//
//   y[i] = x[i] * w[i], exact
//
// A row is the activation times two bits of the weight; four rows make a product. The weight's
// highest bit counts -128.
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

    genvar i, k;
    generate
        for (i = 0; i < COUNT; i = i + 1) begin : gen_product
            wire [7:0]  activation = x[8*i +: 8];
            wire [39:0] rows;
            reg  [39:0] rows_reg;
            reg  [15:0] y_reg;

            for (k = 0; k < 4; k = k + 1) begin : gen_row
                gated_sum #(
                    .WIDTH(10), .SUBTRACT(k == 3)
                ) row (
                    .a({2'b0, activation}), .take_a(w[8*i + 2*k]),
                    .b({1'b0, activation, 1'b0}), .take_b(w[8*i + 2*k + 1]),
                    .sum(rows[10*k +: 10])
                );
            end

            // Each row is four times the one before. The last is signed; the two lower bits of
            // those below it go past the adders.
            wire [9:0]  lower = rows_reg[19:10] + {2'b0, rows_reg[9:2]};
            wire [9:0]  upper = rows_reg[39:30] + {2'b0, rows_reg[29:22]};
            wire [11:0] total = {upper, rows_reg[21:20]} + {4'b0, lower[9:2]};

            always @(posedge clk) begin
                rows_reg <= rows;
                y_reg    <= {total, lower[1:0], rows_reg[1:0]};
            end

            assign y[16*i +: 16] = y_reg;
        end
    endgenerate

endmodule

`default_nettype wire
