// SPDX-License-Identifier: Apache-2.0
//
// Sum or difference of two numbers, each of which counts only where it is taken.
//
//   sum = (take_a ? a : 0) + (take_b ? b : 0)          SUBTRACT 0
//   sum = (take_a ? a : 0) - (take_b ? b : 0)          SUBTRACT 1, modulo 2^WIDTH
//
// Combinational. A carry chain has room for the gates: see fpga/ecp5/gated_sum.v.

`default_nettype none

module gated_sum #(
    parameter WIDTH    = 10,
    parameter SUBTRACT = 0
) (
    input  wire [WIDTH-1:0] a,
    input  wire [WIDTH-1:0] b,
    input  wire             take_a,
    input  wire             take_b,
    output wire [WIDTH-1:0] sum
);

    wire [WIDTH-1:0] first  = take_a ? a : {WIDTH{1'b0}};
    wire [WIDTH-1:0] second = take_b ? b : {WIDTH{1'b0}};

    assign sum = (SUBTRACT != 0) ? first - second : first + second;

endmodule

`default_nettype wire
