// SPDX-License-Identifier: Apache-2.0
//
// COUNT products of an unsigned activation and a signed weight, one set every clock. Written so
// that each maps to a DSP block; a board whose blocks want more than that replaces this file.
//
//   y[i] = x[i] * w[i], exact
//
// Latency: 2 clocks. The registers on the operands are part of a DSP block that has them.

`default_nettype none

module products #(
    parameter COUNT = 1
) (
    input  wire                clk,
    input  wire [8*COUNT-1:0]  x,  // uint8, element i at bits 8*i
    input  wire [8*COUNT-1:0]  w,  // int8, element i at bits 8*i
    output wire [16*COUNT-1:0] y   // int16, element i at bits 16*i
);

    reg [8*COUNT-1:0]  x_reg, w_reg;
    reg [16*COUNT-1:0] y_reg;

    // All at once: simulators take that faster than as many small registers.
    function [16*COUNT-1:0] multiply;
        input [8*COUNT-1:0] activations, weights;
        integer i;
        for (i = 0; i < COUNT; i = i + 1)
            multiply[16*i +: 16] = $signed({1'b0, activations[8*i +: 8]})
                                 * $signed(weights[8*i +: 8]);
    endfunction

    assign y = y_reg;

    always @(posedge clk) begin
        x_reg <= x;
        w_reg <= w;
        y_reg <= multiply(x_reg, w_reg);
    end

endmodule

`default_nettype wire
