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

            // The weight stands in the upper bits, so that nothing need be sign-extended: the product is
            // 2^10 times as large. The activation counts as signed too, but its upper bits are zero.
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
                .B0(1'b0), .B1(1'b0), .B2(1'b0), .B3(1'b0), .B4(1'b0), .B5(1'b0),
                .B6(1'b0), .B7(1'b0), .B8(1'b0), .B9(1'b0), .B10(b[0]), .B11(b[1]),
                .B12(b[2]), .B13(b[3]), .B14(b[4]), .B15(b[5]), .B16(b[6]), .B17(b[7]),
                .P10(y[16*i+0]), .P11(y[16*i+1]), .P12(y[16*i+2]), .P13(y[16*i+3]),
                .P14(y[16*i+4]), .P15(y[16*i+5]), .P16(y[16*i+6]), .P17(y[16*i+7]),
                .P18(y[16*i+8]), .P19(y[16*i+9]), .P20(y[16*i+10]), .P21(y[16*i+11]),
                .P22(y[16*i+12]), .P23(y[16*i+13]), .P24(y[16*i+14]), .P25(y[16*i+15])
            );
        end
    endgenerate

endmodule

`default_nettype wire
