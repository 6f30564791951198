// SPDX-License-Identifier: Apache-2.0
//
// COUNT products of an unsigned activation and a signed weight, one set every clock. Written so
// that each maps to a DSP block; a board whose blocks want more than that replaces this file.
//
//   y[i] = x[i] * w[i], exact
//
// Latency: 2 clocks. The registers on the operands stand right behind the block RAM that the
// weights come from, and are part of a DSP block that has them.

`default_nettype none

module products #(
    parameter COUNT = 1
) (
    input  wire                clk,
    input  wire [8*COUNT-1:0]  x,  // uint8, element i at bits 8*i
    input  wire [8*COUNT-1:0]  w,  // int8, element i at bits 8*i
    output wire [16*COUNT-1:0] y   // int16, element i at bits 16*i
);

    genvar i;
    generate
        for (i = 0; i < COUNT; i = i + 1) begin : gen_product
            reg signed [8:0]  x_reg;  // a sign of 0 before the activation
            reg signed [7:0]  w_reg;
            reg signed [15:0] y_reg;

            always @(posedge clk) begin
                x_reg <= {1'b0, x[8*i +: 8]};
                w_reg <= w[8*i +: 8];
                y_reg <= x_reg * w_reg;
            end

            assign y[16*i +: 16] = y_reg;
        end
    endgenerate

endmodule

`default_nettype wire
