// SPDX-License-Identifier: Apache-2.0
//
// rtl/products.v for ECP5: a MULT18X18D each, with its own registers on operands and result, which
// Yosys does not use. Same ports, same latency of 2 clocks.
//
//   y[i] = x[i] * w[i], exact

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
            wire [7:0] a = x[8*i +: 8];
            wire [7:0] b = w[8*i +: 8];

            // Operand A counts as signed too, but its upper bits are zero.
            MULT18X18D #(
                .REG_INPUTA_CLK ("CLK0"),
                .REG_INPUTB_CLK ("CLK0"),
                .REG_OUTPUT_CLK ("CLK0"),
                .GSR            ("DISABLED"),
                .RESETMODE      ("SYNC")
            ) multiplier (
                .CLK0(clk), .CE0(1'b1), .RST0(1'b0),
                .SIGNEDA(1'b1), .SIGNEDB(1'b1), .SOURCEA(1'b0), .SOURCEB(1'b0),
                .A0(a[0]), .A1(a[1]), .A2(a[2]), .A3(a[3]), .A4(a[4]), .A5(a[5]),
                .A6(a[6]), .A7(a[7]), .A8(1'b0), .A9(1'b0), .A10(1'b0), .A11(1'b0),
                .A12(1'b0), .A13(1'b0), .A14(1'b0), .A15(1'b0), .A16(1'b0), .A17(1'b0),
                .B0(b[0]), .B1(b[1]), .B2(b[2]), .B3(b[3]), .B4(b[4]), .B5(b[5]),
                .B6(b[6]), .B7(b[7]), .B8(b[7]), .B9(b[7]), .B10(b[7]), .B11(b[7]),
                .B12(b[7]), .B13(b[7]), .B14(b[7]), .B15(b[7]), .B16(b[7]), .B17(b[7]),
                .P0(y[16*i+0]), .P1(y[16*i+1]), .P2(y[16*i+2]), .P3(y[16*i+3]), .P4(y[16*i+4]),
                .P5(y[16*i+5]), .P6(y[16*i+6]), .P7(y[16*i+7]), .P8(y[16*i+8]), .P9(y[16*i+9]),
                .P10(y[16*i+10]), .P11(y[16*i+11]), .P12(y[16*i+12]), .P13(y[16*i+13]),
                .P14(y[16*i+14]), .P15(y[16*i+15])
            );
        end
    endgenerate

endmodule

`default_nettype wire
