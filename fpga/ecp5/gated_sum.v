// SPDX-License-Identifier: Apache-2.0
//
// rtl/gated_sum.v for ECP5: a carry cell's lookup tables take both gates, which Yosys does not do.
// Same ports, same function.
//
//   sum = (take_a ? a : 0) + (take_b ? b : 0)          SUBTRACT 0
//   sum = (take_a ? a : 0) - (take_b ? b : 0)          SUBTRACT 1, modulo 2^WIDTH

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

    localparam CELLS = (WIDTH + 1) / 2;  // of two bits each

    // A table's entries with C = D = 0 are also what the carry is where the sum bit is 0: A and B.
    // So a difference has the gate's inputs inverted: not (b and take_b) = not b or not take_b.
    localparam [15:0] TABLE = (SUBTRACT != 0) ? 16'h7778 : 16'h7888;

    wire [WIDTH:0]     first = {1'b0, a};
    wire [WIDTH:0]     second = {1'b0, b} ^ {(WIDTH+1){SUBTRACT != 0}};
    wire               take_second = take_b ^ (SUBTRACT != 0);
    wire [2*CELLS-1:0] total;
    wire [CELLS:0]     carry;

    assign carry[0] = SUBTRACT != 0;
    assign sum      = total[WIDTH-1:0];

    genvar i;
    generate
        for (i = 0; i < CELLS; i = i + 1) begin : gen_cell
            CCU2C #(
                .INIT0(TABLE), .INIT1(TABLE), .INJECT1_0("NO"), .INJECT1_1("NO")
            ) two_bits (
                .CIN(carry[i]),
                .A0(first[2*i]), .B0(take_a), .C0(second[2*i]), .D0(take_second),
                .A1(first[2*i+1]), .B1(take_a), .C1(second[2*i+1]), .D1(take_second),
                .S0(total[2*i]), .S1(total[2*i+1]), .COUT(carry[i+1])
            );
        end
    endgenerate

endmodule

`default_nettype wire
