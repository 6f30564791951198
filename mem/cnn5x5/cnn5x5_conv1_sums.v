// SPDX-License-Identifier: Apache-2.0
//
// The weights of conv1 of cnn5x5, times bytes: 3 sums of 25 products as 98 additions, some of which
// several sums share. 442 bits of registers.
//
//   sum[i] = w[i][0]*x[0] + w[i][1]*x[1] + ..., exact
//
// n0, n1, ... are x[0], x[1], ..., and then the results of adders; nJ_regK is nJ, K
// clocks later. Where Yosys may not `keep` an adder, it makes several a tree of full
// adders, which take more lookup tables than carry chains.
// Written by model/export.py, which has proven it.
// Latency: 3 clocks.

`default_nettype none

module cnn5x5_conv1_sums (
    input  wire clk,
    input  wire [199:0] x,  // uint8, element j at bits 8*j
    output wire [56:0] sum  // signed, sum i at bits 19*i
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
    wire [7:0] n9 = x[72 +: 8];
    wire [7:0] n10 = x[80 +: 8];
    wire [7:0] n11 = x[88 +: 8];
    wire [7:0] n12 = x[96 +: 8];
    wire [7:0] n13 = x[104 +: 8];
    wire [7:0] n14 = x[112 +: 8];
    wire [7:0] n15 = x[120 +: 8];
    wire [7:0] n16 = x[128 +: 8];
    wire [7:0] n17 = x[136 +: 8];
    wire [7:0] n18 = x[144 +: 8];
    wire [7:0] n19 = x[152 +: 8];
    wire [7:0] n20 = x[160 +: 8];
    wire [7:0] n21 = x[168 +: 8];
    wire [7:0] n22 = x[176 +: 8];
    wire [7:0] n23 = x[184 +: 8];
    wire [7:0] n24 = x[192 +: 8];

    // Clock 1
    (* keep *) wire [8:0] n25;
    (* keep *) wire [9:0] n26;
    (* keep *) wire [8:0] n27;
    (* keep *) wire [9:0] n28;
    (* keep *) wire [10:0] n29;
    (* keep *) wire [10:0] n30;
    (* keep *) wire [11:0] n31;
    (* keep *) wire [9:0] n32;
    (* keep *) wire [10:0] n33;
    (* keep *) wire [8:0] n34;
    (* keep *) wire [8:0] n35;
    (* keep *) wire [10:0] n36;
    (* keep *) wire [8:0] n37;
    (* keep *) wire [9:0] n38;
    (* keep *) wire [9:0] n39;
    (* keep *) wire [9:0] n40;
    (* keep *) wire [11:0] n41;
    (* keep *) wire [8:0] n42;
    (* keep *) wire [8:0] n43;
    (* keep *) wire [8:0] n44;
    (* keep *) wire [13:0] n45;
    (* keep *) wire [10:0] n46;
    (* keep *) wire [11:0] n47;
    (* keep *) wire [10:0] n48;
    (* keep *) wire [14:0] n49;
    (* keep *) wire [11:0] n50;
    (* keep *) wire [13:0] n51;
    (* keep *) wire [12:0] n52;
    (* keep *) wire [11:0] n53;
    (* keep *) wire [12:0] n54;
    (* keep *) wire [12:0] n55;
    (* keep *) wire [12:0] n56;
    (* keep *) wire [14:0] n57;
    (* keep *) wire [14:0] n58;
    (* keep *) wire [10:0] n59;
    (* keep *) wire [12:0] n60;
    (* keep *) wire [10:0] n61;
    (* keep *) wire [13:0] n62;
    (* keep *) wire [9:0] n63;
    (* keep *) wire [13:0] n64;
    (* keep *) wire [13:0] n65;
    (* keep *) wire [14:0] n66;
    (* keep *) wire [11:0] n67;
    (* keep *) wire [11:0] n68;
    (* keep *) wire [13:0] n69;
    (* keep *) wire [14:0] n70;
    (* keep *) wire [13:0] n73;
    (* keep *) wire [15:0] n74;
    (* keep *) wire [12:0] n83;
    (* keep *) wire [9:0] n84;
    (* keep *) wire [10:0] n85;
    (* keep *) wire [11:0] n86;
    (* keep *) wire [11:0] n87;
    (* keep *) wire [12:0] n88;
    (* keep *) wire [13:0] n89;
    (* keep *) wire [10:0] n90;
    (* keep *) wire [13:0] n91;
    (* keep *) wire [14:0] n93;
    (* keep *) wire [14:0] n95;
    (* keep *) wire [14:0] n96;
    (* keep *) wire [14:0] n99;
    (* keep *) wire [11:0] n103;
    (* keep *) wire [10:0] n104;
    (* keep *) wire [8:0] n105;
    (* keep *) wire [12:0] n106;
    (* keep *) wire [10:0] n107;
    (* keep *) wire [11:0] n108;
    (* keep *) wire [12:0] n109;
    (* keep *) wire [9:0] n110;
    (* keep *) wire [14:0] n111;
    (* keep *) wire [13:0] n112;
    (* keep *) wire [11:0] n113;
    (* keep *) wire [11:0] n114;
    (* keep *) wire [14:0] n117;
    assign n25 = {1'd0, n0} - {1'd0, n6};
    assign n26 = {2'd0, n9} + {1'd0, n3, 1'd0};
    assign n27 = {1'd0, n9} - {1'd0, n22};
    assign n28 = {2'd0, n12} + {1'd0, n19, 1'd0};
    assign n29 = {3'd0, n13} - {1'd0, n13, 2'd0};
    assign n30 = {3'd0, n14} - {1'd0, n17, 2'd0};
    assign n31 = {4'd0, n23} - {1'd0, n26, 1'd0};
    assign n32 = {2'd0, n1} - {1'd0, n11, 1'd0};
    assign n33 = {3'd0, n2} + {1'd0, n5, 2'd0};
    assign n34 = {1'd0, n4} - {1'd0, n8};
    assign n35 = {1'd0, n10} + {1'd0, n21};
    assign n36 = {3'd0, n20} + {1'd0, n20, 2'd0};
    assign n37 = {1'd0, n0} - {1'd0, n11};
    assign n38 = {2'd0, n1} - {1'd0, n6, 1'd0};
    assign n39 = {2'd0, n3} - {1'd0, n18, 1'd0};
    assign n40 = {2'd0, n4} + {1'd0, n22, 1'd0};
    assign n41 = {4'd0, n5} + {1'd0, n7, 3'd0};
    assign n42 = {1'd0, n10} - {1'd0, n14};
    assign n43 = {1'd0, n15} - {1'd0, n17};
    assign n44 = {1'd0, n15} - {1'd0, n24};
    assign n45 = {6'd0, n16} - {1'd0, n19, 5'd0};
    assign n46 = {3'd0, n18} - {{1{n25[8]}}, n25, 1'd0};
    assign n47 = {4'd0, n21} - {1'd0, n12, 3'd0};
    assign n48 = {3'd0, n22} + {1'd0, n13, 2'd0};
    assign n49 = {{6{n27[8]}}, n27} - {2'd0, n23, 5'd0};
    assign n50 = {2'd0, n28} + {{1{n34[8]}}, n34, 2'd0};
    assign n51 = {{3{n30[10]}}, n30} + {2'd0, n20, 4'd0};
    assign n52 = {3'd0, n28} - {1'd0, n33, 1'd0};
    assign n53 = n31 + {{2{n39[9]}}, n39};
    assign n54 = {{2{n46[10]}}, n46} - {{1{n32[9]}}, n32, 2'd0};
    assign n55 = n52 - {{3{n37[8]}}, n37, 1'd0};
    assign n56 = {{1{n31[11]}}, n31} + {{1{n47[11]}}, n47};
    assign n57 = {{5{n38[9]}}, n38} - {{1{n45[13]}}, n45};
    assign n58 = {3'd0, n41} + n49;
    assign n59 = {{2{n42[8]}}, n42} + {n14, 3'd0};
    assign n60 = {{4{n44[8]}}, n44} + {n24, 5'd0};
    assign n61 = {3'd0, n1} - {1'd0, n3, 2'd0};
    assign n62 = {6'd0, n8} - {1'd0, n10, 5'd0};
    assign n63 = {2'd0, n18} - {1'd0, n17, 1'd0};
    assign n64 = {{5{n25[8]}}, n25} - {n25, 5'd0};
    assign n65 = {{3{n29[10]}}, n29} + {{1{n43[8]}}, n43, 4'd0};
    assign n66 = {6'd0, n35} + {n40, 5'd0};
    assign n67 = {1'd0, n48} - {1'd0, n36};
    assign n68 = {1'd0, n48} + {n61, 1'd0};
    assign n69 = {{2{n50[11]}}, n50} - {n67, 2'd0};
    assign n70 = {2'd0, n60} - {1'd0, n59, 3'd0};
    assign n73 = n65 - {{4{n63[9]}}, n63};
    assign n74 = {{2{n64[13]}}, n64} + {n57, 1'd0};
    assign n83 = {5'd0, n2} + {1'd0, n6, 4'd0};
    assign n84 = {2'd0, n10} - {1'd0, n7, 1'd0};
    assign n85 = {3'd0, n11} + {1'd0, n15, 2'd0};
    assign n86 = {4'd0, n16} + {1'd0, n15, 3'd0};
    assign n87 = {{1{n29[10]}}, n29} + {{1{n34[8]}}, n34, 2'd0};
    assign n88 = {2'd0, n36} - {1'd0, n35, 3'd0};
    assign n89 = {4'd0, n40} - {{1{n42[8]}}, n42, 4'd0};
    assign n90 = {{1{n84[9]}}, n84} - {2'd0, n21, 1'd0};
    assign n91 = {1'd0, n83} + {n86, 2'd0};
    assign n93 = {{1{n51[13]}}, n51} - {n51[12:0], 2'd0};
    assign n95 = n57 - {{2{n87[11]}}, n87, 1'd0};
    assign n96 = {{4{n90[10]}}, n90} - {n89, 1'd0};
    assign n99 = {4'd0, n85} - {1'd0, n91};
    assign n103 = {4'd0, n0} + {1'd0, n5, 3'd0};
    assign n104 = {3'd0, n6} + {1'd0, n7, 2'd0};
    assign n105 = {1'd0, n16} - {1'd0, n7};
    assign n106 = {{4{n27[8]}}, n27} - {n27, 4'd0};
    assign n107 = n29 + {1'd0, n35, 1'd0};
    assign n108 = {{1{n30[10]}}, n30} + {{1{n44[8]}}, n44, 2'd0};
    assign n109 = {{2{n30[10]}}, n30} + {{1{n105[8]}}, n105, 3'd0};
    assign n110 = {2'd0, n24} + {{1{n43[8]}}, n43};
    assign n111 = {{5{n32[9]}}, n32} + {1'd0, n33, 3'd0};
    assign n112 = {{2{n50[11]}}, n50} - {{1{n107[10]}}, n107, 2'd0};
    assign n113 = n103 + {1'd0, n104};
    assign n114 = n108 - {{2{n110[9]}}, n110};
    assign n117 = {{2{n106[12]}}, n106} + {n109, 2'd0};
    reg  [11:0] n53_reg1;
    reg  [12:0] n54_reg1;
    reg  [12:0] n55_reg1;
    reg  [12:0] n56_reg1;
    reg  [14:0] n58_reg1;
    reg  [13:0] n62_reg1;
    reg  [14:0] n66_reg1;
    reg  [11:0] n68_reg1;
    reg  [13:0] n69_reg1;
    reg  [14:0] n70_reg1;
    reg  [13:0] n73_reg1;
    reg  [15:0] n74_reg1;
    reg  [12:0] n88_reg1;
    reg  [14:0] n93_reg1;
    reg  [14:0] n95_reg1;
    reg  [14:0] n96_reg1;
    reg  [14:0] n99_reg1;
    reg  [14:0] n111_reg1;
    reg  [13:0] n112_reg1;
    reg  [11:0] n113_reg1;
    reg  [11:0] n114_reg1;
    reg  [14:0] n117_reg1;
    always @(posedge clk) begin
        n53_reg1 <= n53;
        n54_reg1 <= n54;
        n55_reg1 <= n55;
        n56_reg1 <= n56;
        n58_reg1 <= n58;
        n62_reg1 <= n62;
        n66_reg1 <= n66;
        n68_reg1 <= n68;
        n69_reg1 <= n69;
        n70_reg1 <= n70;
        n73_reg1 <= n73;
        n74_reg1 <= n74;
        n88_reg1 <= n88;
        n93_reg1 <= n93;
        n95_reg1 <= n95;
        n96_reg1 <= n96;
        n99_reg1 <= n99;
        n111_reg1 <= n111;
        n112_reg1 <= n112;
        n113_reg1 <= n113;
        n114_reg1 <= n114;
        n117_reg1 <= n117;
    end

    // Clock 2
    (* keep *) wire [14:0] n71;
    (* keep *) wire [14:0] n72;
    (* keep *) wire [14:0] n75;
    (* keep *) wire [15:0] n76;
    (* keep *) wire [15:0] n77;
    (* keep *) wire [15:0] n78;
    (* keep *) wire [15:0] n79;
    (* keep *) wire [16:0] n80;
    (* keep *) wire [16:0] n81;
    (* keep *) wire [14:0] n92;
    (* keep *) wire [14:0] n94;
    (* keep *) wire [15:0] n97;
    (* keep *) wire [14:0] n98;
    (* keep *) wire [15:0] n100;
    (* keep *) wire [16:0] n101;
    (* keep *) wire [16:0] n102;
    (* keep *) wire [14:0] n115;
    (* keep *) wire [14:0] n116;
    (* keep *) wire [14:0] n118;
    (* keep *) wire [15:0] n119;
    (* keep *) wire [15:0] n120;
    (* keep *) wire [15:0] n121;
    assign n71 = {{3{n53_reg1[11]}}, n53_reg1} - {n68_reg1, 3'd0};
    assign n72 = {{2{n55_reg1[12]}}, n55_reg1} + {{1{n56_reg1[12]}}, n56_reg1, 1'd0};
    assign n75 = n58_reg1 - {{1{n69_reg1[13]}}, n69_reg1};
    assign n76 = {{2{n73_reg1[13]}}, n73_reg1} - {{1{n70_reg1[14]}}, n70_reg1};
    assign n77 = {{1{n71[14]}}, n71} + {n72, 1'd0};
    assign n78 = {{1{n75[14]}}, n75} + n76;
    assign n79 = {{2{n62_reg1[13]}}, n62_reg1} + n74_reg1;
    assign n80 = {2'd0, n66_reg1} + {n77, 1'd0};
    assign n81 = {{1{n78[15]}}, n78} + {{1{n79[15]}}, n79};
    assign n92 = {{2{n88_reg1[12]}}, n88_reg1} - {n53_reg1, 3'd0};
    assign n94 = n58_reg1 - {{1{n55_reg1[12]}}, n55_reg1, 1'd0};
    assign n97 = {{1{n92[14]}}, n92} - {{1{n94[14]}}, n94};
    assign n98 = n93_reg1 + n95_reg1;
    assign n100 = {{1{n99_reg1[14]}}, n99_reg1} - {{1{n96_reg1[14]}}, n96_reg1};
    assign n101 = {{2{n98[14]}}, n98} + {{1{n100[15]}}, n100};
    assign n102 = {{1{n97[15]}}, n97} + n101;
    assign n115 = {{2{n54_reg1[12]}}, n54_reg1} - {n54_reg1, 2'd0};
    assign n116 = {{3{n114_reg1[11]}}, n114_reg1} + {{1{n56_reg1[12]}}, n56_reg1, 1'd0};
    assign n118 = {3'd0, n113_reg1} - {n112_reg1, 1'd0};
    assign n119 = {{1{n116[14]}}, n116} - {n115, 1'd0};
    assign n120 = {{1{n111_reg1[14]}}, n111_reg1} + {{1{n117_reg1[14]}}, n117_reg1};
    assign n121 = {{1{n118[14]}}, n118} + n119;
    reg  [16:0] n80_reg1;
    reg  [16:0] n81_reg1;
    reg  [16:0] n102_reg1;
    reg  [15:0] n120_reg1;
    reg  [15:0] n121_reg1;
    always @(posedge clk) begin
        n80_reg1 <= n80;
        n81_reg1 <= n81;
        n102_reg1 <= n102;
        n120_reg1 <= n120;
        n121_reg1 <= n121;
    end

    // Clock 3
    (* keep *) wire [17:0] n82;
    (* keep *) wire [16:0] n122;
    assign n82 = {{1{n81_reg1[16]}}, n81_reg1} - {{1{n80_reg1[16]}}, n80_reg1};
    assign n122 = {{1{n120_reg1[15]}}, n120_reg1} + {{1{n121_reg1[15]}}, n121_reg1};
    reg  [17:0] n82_reg1;
    reg  [16:0] n102_reg2;
    reg  [16:0] n122_reg1;
    always @(posedge clk) begin
        n82_reg1 <= n82;
        n102_reg2 <= n102_reg1;
        n122_reg1 <= n122;
    end

    assign sum[0 +: 19] = {{1{n82_reg1[17]}}, n82_reg1};
    assign sum[19 +: 19] = {{2{n102_reg2[16]}}, n102_reg2};
    assign sum[38 +: 19] = {{2{n122_reg1[16]}}, n122_reg1};

endmodule

`default_nettype wire
