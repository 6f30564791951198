// SPDX-License-Identifier: Apache-2.0
//
// The weights of conv1 of convnet, times bytes: 3 sums of 9 products as 44 additions, some of which
// several sums share. 226 bits of registers.
//
//   sum[i] = w[i][0]*x[0] + w[i][1]*x[1] + ..., exact
//
// n0, n1, ... are x[0], x[1], ..., and then the results of adders; nJ_regK is nJ, K
// clocks later. Where Yosys may not `keep` an adder, it makes several a tree of full
// adders, which take more lookup tables than carry chains.
// Written by model/export.py, which has proven it.
// Latency: 2 clocks.

`default_nettype none

module convnet_conv1_sums (
    input  wire clk,
    input  wire [71:0] x,  // uint8, element j at bits 8*j
    output wire [53:0] sum  // signed, sum i at bits 18*i
);

    wire [7:0] n0 = x[0 +: 8];
    wire [7:0] n1 = x[8 +: 8];
    wire [7:0] n2 = x[16 +: 8];
    wire [7:0] n3 = x[24 +: 8];
    wire [7:0] n4 = x[32 +: 8];
    wire [7:0] n5 = x[40 +: 8];
    wire [7:0] n6 = x[48 +: 8];
    wire [7:0] n7 = x[56 +: 8];
    wire [7:0] n8 = x[64 +: 8];

    // Clock 1
    (* keep *) wire [8:0] n9;
    (* keep *) wire [9:0] n10;
    (* keep *) wire [10:0] n11;
    (* keep *) wire [10:0] n12;
    (* keep *) wire [9:0] n13;
    (* keep *) wire [10:0] n14;
    (* keep *) wire [12:0] n15;
    (* keep *) wire [12:0] n16;
    (* keep *) wire [14:0] n17;
    (* keep *) wire [9:0] n18;
    (* keep *) wire [10:0] n19;
    (* keep *) wire [12:0] n20;
    (* keep *) wire [12:0] n21;
    (* keep *) wire [13:0] n22;
    (* keep *) wire [12:0] n23;
    (* keep *) wire [13:0] n24;
    (* keep *) wire [12:0] n25;
    (* keep *) wire [15:0] n27;
    (* keep *) wire [11:0] n31;
    (* keep *) wire [10:0] n32;
    (* keep *) wire [13:0] n33;
    (* keep *) wire [14:0] n34;
    (* keep *) wire [13:0] n35;
    (* keep *) wire [13:0] n36;
    (* keep *) wire [15:0] n37;
    (* keep *) wire [8:0] n42;
    (* keep *) wire [9:0] n43;
    (* keep *) wire [12:0] n44;
    (* keep *) wire [12:0] n45;
    (* keep *) wire [12:0] n46;
    (* keep *) wire [15:0] n47;
    (* keep *) wire [14:0] n48;
    (* keep *) wire [15:0] n49;
    (* keep *) wire [15:0] n51;
    assign n9 = {1'd0, n2} + {1'd0, n4};
    assign n10 = {2'd0, n8} - {1'd0, n0, 1'd0};
    assign n11 = {3'd0, n5} - {1'd0, n6, 2'd0};
    assign n12 = {3'd0, n1} - {1'd0, n7, 2'd0};
    assign n13 = {2'd0, n1} + {1'd0, n9};
    assign n14 = {3'd0, n3} + {1'd0, n3, 2'd0};
    assign n15 = {5'd0, n4} - {1'd0, n7, 4'd0};
    assign n16 = {5'd0, n5} - {1'd0, n5, 4'd0};
    assign n17 = {7'd0, n7} - {1'd0, n8, 6'd0};
    assign n18 = {2'd0, n8} + {1'd0, n0, 1'd0};
    assign n19 = {2'd0, n9} + {n10, 1'd0};
    assign n20 = {{2{n12[10]}}, n12} + {2'd0, n2, 3'd0};
    assign n21 = {{2{n19[10]}}, n19} - {n10, 3'd0};
    assign n22 = {3'd0, n14} + {n13, 4'd0};
    assign n23 = {{2{n11[10]}}, n11} - {n11, 2'd0};
    assign n24 = {{1{n15[12]}}, n15} + {{1{n11[10]}}, n11, 2'd0};
    assign n25 = n20 - n23;
    assign n27 = {8'd0, n6} + {n24, 2'd0};
    assign n31 = {4'd0, n1} + {1'd0, n3, 3'd0};
    assign n32 = {3'd0, n4} + {1'd0, n3, 2'd0};
    assign n33 = {{1{n16[12]}}, n16} - {n10, 4'd0};
    assign n34 = {{5{n10[9]}}, n10} - {2'd0, n4, 5'd0};
    assign n35 = {2'd0, n31} - {{1{n11[10]}}, n11, 2'd0};
    assign n36 = {{3{n19[10]}}, n19} - {1'd0, n32, 2'd0};
    assign n37 = {{2{n33[13]}}, n33} - {n20, 3'd0};
    assign n42 = {1'd0, n2} + {1'd0, n6};
    assign n43 = {2'd0, n8} + {1'd0, n6, 1'd0};
    assign n44 = {2'd0, n14} - {1'd0, n9, 3'd0};
    assign n45 = {3'd0, n18} + {n43, 3'd0};
    assign n46 = {4'd0, n42} + {n13, 3'd0};
    assign n47 = {{5{n12[10]}}, n12} - {1'd0, n18, 5'd0};
    assign n48 = {{2{n16[12]}}, n16} + {{1{n15[12]}}, n15, 1'd0};
    assign n49 = {3'd0, n45} - {{1{n44[12]}}, n44, 2'd0};
    assign n51 = n47 - {{1{n48[14]}}, n48};
    reg  [14:0] n17_reg1;
    reg  [12:0] n21_reg1;
    reg  [13:0] n22_reg1;
    reg  [12:0] n25_reg1;
    reg  [15:0] n27_reg1;
    reg  [14:0] n34_reg1;
    reg  [13:0] n35_reg1;
    reg  [13:0] n36_reg1;
    reg  [15:0] n37_reg1;
    reg  [12:0] n46_reg1;
    reg  [15:0] n49_reg1;
    reg  [15:0] n51_reg1;
    always @(posedge clk) begin
        n17_reg1 <= n17;
        n21_reg1 <= n21;
        n22_reg1 <= n22;
        n25_reg1 <= n25;
        n27_reg1 <= n27;
        n34_reg1 <= n34;
        n35_reg1 <= n35;
        n36_reg1 <= n36;
        n37_reg1 <= n37;
        n46_reg1 <= n46;
        n49_reg1 <= n49;
        n51_reg1 <= n51;
    end

    // Clock 2
    (* keep *) wire [13:0] n26;
    (* keep *) wire [15:0] n28;
    (* keep *) wire [15:0] n29;
    (* keep *) wire [16:0] n30;
    (* keep *) wire [14:0] n38;
    (* keep *) wire [15:0] n39;
    (* keep *) wire [15:0] n40;
    (* keep *) wire [16:0] n41;
    (* keep *) wire [15:0] n50;
    (* keep *) wire [16:0] n52;
    assign n26 = {{1{n21_reg1[12]}}, n21_reg1} + {{1{n25_reg1[12]}}, n25_reg1};
    assign n28 = n27_reg1 + {1'd0, n22_reg1, 1'd0};
    assign n29 = {{1{n17_reg1[14]}}, n17_reg1} + {{2{n26[13]}}, n26};
    assign n30 = {{1{n28[15]}}, n28} + {{1{n29[15]}}, n29};
    assign n38 = {{1{n35_reg1[13]}}, n35_reg1} + {n36_reg1, 1'd0};
    assign n39 = {{1{n17_reg1[14]}}, n17_reg1} + {{1{n34_reg1[14]}}, n34_reg1};
    assign n40 = n37_reg1 - {{1{n38[14]}}, n38};
    assign n41 = {{1{n40[15]}}, n40} - {{1{n39[15]}}, n39};
    assign n50 = {3'd0, n46_reg1} + n49_reg1;
    assign n52 = {{1{n50[15]}}, n50} + {{1{n51_reg1[15]}}, n51_reg1};
    reg  [16:0] n30_reg1;
    reg  [16:0] n41_reg1;
    reg  [16:0] n52_reg1;
    always @(posedge clk) begin
        n30_reg1 <= n30;
        n41_reg1 <= n41;
        n52_reg1 <= n52;
    end

    assign sum[0 +: 18] = {{1{n30_reg1[16]}}, n30_reg1};
    assign sum[18 +: 18] = {{1{n41_reg1[16]}}, n41_reg1};
    assign sum[36 +: 18] = {{1{n52_reg1[16]}}, n52_reg1};

endmodule

`default_nettype wire
