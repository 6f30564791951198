// SPDX-License-Identifier: Apache-2.0
//
// rtl/products.v for iCE40 UltraPlus, whose SB_MAC16 makes two products of 8x8 bits, which Yosys
// does not use: same ports, same latency of 2 clocks. All registers are those of the block.
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

    localparam BLOCKS = (COUNT + 1) / 2;

    // The upper half of the last block is idle where COUNT is odd.
    wire [16*BLOCKS-1:0] a;
    wire [16*BLOCKS-1:0] b;
    wire [32*BLOCKS-1:0] o;

    generate
        if (COUNT % 2 == 1) begin : gen_odd
            assign a = {8'd0, x};
            assign b = {8'd0, w};
            wire unused = &{1'b0, o[32*BLOCKS-1 -: 16]};
        end else begin : gen_even
            assign a = x;
            assign b = w;
        end
    endgenerate

    assign y = o[16*COUNT-1:0];

    genvar i;
    generate
        for (i = 0; i < BLOCKS; i = i + 1) begin : gen_block
            SB_MAC16 #(
                .MODE_8x8         (1'b1),
                .A_SIGNED         (1'b0),
                .B_SIGNED         (1'b1),
                .A_REG            (1'b1),
                .B_REG            (1'b1),
                .TOP_8x8_MULT_REG (1'b1),
                .BOT_8x8_MULT_REG (1'b1),
                .TOPOUTPUT_SELECT (2'b10),  // the product of the upper bytes
                .BOTOUTPUT_SELECT (2'b10)   // the product of the lower bytes
            ) mac (
                .CLK(clk), .CE(1'b1), .A(a[16*i +: 16]), .B(b[16*i +: 16]),
                .C(16'd0), .D(16'd0), .O(o[32*i +: 32]),
                .AHOLD(1'b0), .BHOLD(1'b0), .CHOLD(1'b0), .DHOLD(1'b0),
                .IRSTTOP(1'b0), .IRSTBOT(1'b0), .ORSTTOP(1'b0), .ORSTBOT(1'b0),
                .OLOADTOP(1'b0), .OLOADBOT(1'b0), .ADDSUBTOP(1'b0), .ADDSUBBOT(1'b0),
                .OHOLDTOP(1'b0), .OHOLDBOT(1'b0), .CI(1'b0), .ACCUMCI(1'b0), .SIGNEXTIN(1'b0),
                .CO(), .ACCUMCO(), .SIGNEXTOUT()
            );
        end
    endgenerate

endmodule

`default_nettype wire
