// SPDX-License-Identifier: Apache-2.0
//
// dsnet: from 1x28x28 images to logits and a class.
// A new image every 784 cycles with 609 multipliers; latency 1876 cycles.
//
// Written by model/export.py from network.onnx: change the folding there, not here.
//
//   layer  input     output    window or order  PE  SIMD  multipliers  cycles
//   conv1  1x28x28   8x24x24   5x5               8    25          200     576
//   pool1  8x24x24   8x12x12   2x2 stride 2                               144
//   conv2  8x12x12   8x10x10   3x3               8     2           16     500
//   conv3  8x10x10   24x10x10  1x1               4     8           32     600
//   conv4  24x10x10  24x8x8    3x3              24     1           24     576
//   conv5  24x8x8    48x8x8    1x1               4    24           96     768
//   conv6  48x8x8    48x8x8    3x3 pad 1        48     1           48     576
//   conv7  48x8x8    48x8x8    1x1               4    48          192     768
//   add1   48x8x8    48x8x8    add                                        768
//   pool2  48x8x8    48x1x1    8x8 stride 8                                12
//   fc     48x1x1    10x1x1    input-major       1     1            1     480
//
// In:  1 pixel of 1 channel a beat, in raster order over 28 rows of 28; tlast on an image's last
//      beat. An image that ends early or late is dropped whole, and frame_error pulses once for it.
// Out: 1 logit a beat, int32, the first in the lowest bits; tlast on the last beat, where tuser is
//      the class: the index of the largest logit, the lowest of equals.
//      signature: hashes of the weights and biases, 32 bits a layer that has some, the first
//      layer's lowest; final after the first image. See rom_signature.
// Equals model.network.reference.predict. The .mem files are looked up in the working directory.

`default_nettype none

module dsnet (
    input  wire         clk,
    input  wire         rst,
    input  wire [7:0]   s_axis_tdata,
    input  wire         s_axis_tvalid,
    output wire         s_axis_tready,
    input  wire         s_axis_tlast,
    output wire [31:0]  m_axis_tdata,
    output wire [15:0]  m_axis_tuser,
    output wire         m_axis_tvalid,
    input  wire         m_axis_tready,
    output wire         m_axis_tlast,
    output wire         frame_error,
    output wire [255:0] signature
);

    localparam HEIGHT   = 28;
    localparam WIDTH    = 28;
    localparam CHANNELS = 1;
    localparam PIXELS   = 1;

    // The layers count their beats themselves: no tlast goes into them.
    wire [8*PIXELS*CHANNELS-1:0] frame_tdata;
    wire                         frame_tvalid;
    wire                         frame_tready;
    wire                         unused_frame_tlast;

    // Each image has a flag, 1 where its length was wrong, which waits for its logits.
    wire flag_tdata;
    wire flag_tvalid;
    wire flag_tready;

    frame_check #(
        .BEATS (HEIGHT*WIDTH/PIXELS),
        .WIDTH (8*PIXELS*CHANNELS)
    ) check (
        .clk           (clk),
        .rst           (rst),
        .s_axis_tdata  (s_axis_tdata),
        .s_axis_tvalid (s_axis_tvalid),
        .s_axis_tready (s_axis_tready),
        .s_axis_tlast  (s_axis_tlast),
        .m_axis_tdata  (frame_tdata),
        .m_axis_tvalid (frame_tvalid),
        .m_axis_tready (frame_tready),
        .m_axis_tlast  (unused_frame_tlast),
        .m_flag_tdata  (flag_tdata),
        .m_flag_tvalid (flag_tvalid),
        .m_flag_tready (flag_tready),
        .frame_error   (frame_error)
    );

    wire flag_fifo_tdata;
    wire flag_fifo_tvalid;
    wire flag_fifo_tready;
    wire unused_flag_fifo_tlast;

    axis_fifo #(
        .WIDTH (1),
        .DEPTH (16)
    ) flag_fifo (
        .clk           (clk),
        .rst           (rst),
        .s_axis_tdata  (flag_tdata),
        .s_axis_tvalid (flag_tvalid),
        .s_axis_tready (flag_tready),
        .s_axis_tlast  (1'b1),
        .m_axis_tdata  (flag_fifo_tdata),
        .m_axis_tvalid (flag_fifo_tvalid),
        .m_axis_tready (flag_fifo_tready),
        .m_axis_tlast  (unused_flag_fifo_tlast)
    );

    // conv1: 1x28x28 -> 8x24x24, 5x5
    localparam CONV1_PE         = 8;
    localparam CONV1_ACC_WIDTH  = 18;
    localparam CONV1_SHIFT      = 8;
    localparam CONV1_FIFO_DEPTH = 6;

    wire [8*CONV1_PE-1:0] conv1_tdata;
    wire                  conv1_tvalid;
    wire                  conv1_tready;
    wire                  unused_conv1_tlast;

    wire [200-1:0] conv1_window;
    wire [CONV1_ACC_WIDTH*CONV1_PE-1:0] conv1_sums;

    dsnet_conv1_sums conv1_adders (
        .clk (clk),
        .x   (conv1_window),
        .sum (conv1_sums)
    );

    constant_conv2d #(
        .HEIGHT      (HEIGHT),
        .WIDTH       (WIDTH),
        .IN_CHANNELS (CHANNELS),
        .KERNEL      (5),
        .LANES       (CHANNELS),
        .PE          (CONV1_PE),
        .LATENCY     (3),
        .ACC_WIDTH   (CONV1_ACC_WIDTH),
        .SHIFT       (CONV1_SHIFT),
        .FIFO_DEPTH  (CONV1_FIFO_DEPTH),
        .WEIGHT_FILE ("dsnet_conv1_weight.mem"),
        .BIAS_FILE   ("dsnet_conv1_bias.mem")
    ) conv1 (
        .clk           (clk),
        .rst           (rst),
        .s_axis_tdata  (frame_tdata),
        .s_axis_tvalid (frame_tvalid),
        .s_axis_tready (frame_tready),
        .m_axis_tdata  (conv1_tdata),
        .m_axis_tvalid (conv1_tvalid),
        .m_axis_tready (conv1_tready),
        .m_axis_tlast  (unused_conv1_tlast),
        .window        (conv1_window),
        .sums          (conv1_sums),
        .signature     (signature[31:0])
    );

    // pool1: 8x24x24 -> 8x12x12, 2x2 stride 2
    localparam POOL1_FIFO_DEPTH = 2;

    wire [8*CONV1_PE-1:0] pool1_tdata;
    wire                  pool1_tvalid;
    wire                  pool1_tready;
    wire                  unused_pool1_tlast;

    maxpool2d #(
        .HEIGHT     (24),
        .WIDTH      (24),
        .CHANNELS   (8),
        .KERNEL     (2),
        .LANES      (CONV1_PE),
        .STRIDE     (2),
        .PACE       (2),
        .FIFO_DEPTH (POOL1_FIFO_DEPTH)
    ) pool1 (
        .clk           (clk),
        .rst           (rst),
        .s_axis_tdata  (conv1_tdata),
        .s_axis_tvalid (conv1_tvalid),
        .s_axis_tready (conv1_tready),
        .m_axis_tdata  (pool1_tdata),
        .m_axis_tvalid (pool1_tvalid),
        .m_axis_tready (pool1_tready),
        .m_axis_tlast  (unused_pool1_tlast)
    );

    // conv2: 8x12x12 -> 8x10x10, 3x3
    localparam CONV2_PE         = 8;
    localparam CONV2_SIMD       = 2;
    localparam CONV2_ACC_WIDTH  = 18;
    localparam CONV2_SHIFT      = 6;
    localparam CONV2_FIFO_DEPTH = 2;

    wire [8*CONV2_PE-1:0] conv2_tdata;
    wire                  conv2_tvalid;
    wire                  conv2_tready;
    wire                  unused_conv2_tlast;

    depthwise_conv2d #(
        .HEIGHT      (12),
        .WIDTH       (12),
        .CHANNELS    (8),
        .KERNEL      (3),
        .LANES       (CONV1_PE),
        .PE          (CONV2_PE),
        .SIMD        (CONV2_SIMD),
        .ACC_WIDTH   (CONV2_ACC_WIDTH),
        .SHIFT       (CONV2_SHIFT),
        .FIFO_DEPTH  (CONV2_FIFO_DEPTH),
        .WEIGHT_FILE ("dsnet_conv2_weight.mem"),
        .BIAS_FILE   ("dsnet_conv2_bias.mem")
    ) conv2 (
        .clk           (clk),
        .rst           (rst),
        .s_axis_tdata  (pool1_tdata),
        .s_axis_tvalid (pool1_tvalid),
        .s_axis_tready (pool1_tready),
        .m_axis_tdata  (conv2_tdata),
        .m_axis_tvalid (conv2_tvalid),
        .m_axis_tready (conv2_tready),
        .m_axis_tlast  (unused_conv2_tlast),
        .signature     (signature[63:32])
    );

    // conv3: 8x10x10 -> 24x10x10, 1x1
    localparam CONV3_PE         = 4;
    localparam CONV3_SIMD       = 8;
    localparam CONV3_ACC_WIDTH  = 18;
    localparam CONV3_SHIFT      = 6;
    localparam CONV3_FIFO_DEPTH = 10;

    wire [8*CONV3_PE-1:0] conv3_tdata;
    wire                  conv3_tvalid;
    wire                  conv3_tready;
    wire                  unused_conv3_tlast;

    fc #(
        .VECTORS      (100),
        .CHANNELS     (8),
        .LANES        (CONV2_PE),
        .OUT_FEATURES (24),
        .PE           (CONV3_PE),
        .SIMD         (CONV3_SIMD),
        .ACC_WIDTH    (CONV3_ACC_WIDTH),
        .SHIFT        (CONV3_SHIFT),
        .FIFO_DEPTH   (CONV3_FIFO_DEPTH),
        .WEIGHT_FILE  ("dsnet_conv3_weight.mem"),
        .BIAS_FILE    ("dsnet_conv3_bias.mem")
    ) conv3 (
        .clk           (clk),
        .rst           (rst),
        .s_axis_tdata  (conv2_tdata),
        .s_axis_tvalid (conv2_tvalid),
        .s_axis_tready (conv2_tready),
        .m_axis_tdata  (conv3_tdata),
        .m_axis_tvalid (conv3_tvalid),
        .m_axis_tready (conv3_tready),
        .m_axis_tlast  (unused_conv3_tlast),
        .signature     (signature[95:64])
    );

    // conv4: 24x10x10 -> 24x8x8, 3x3
    localparam CONV4_PE         = 24;
    localparam CONV4_ACC_WIDTH  = 18;
    localparam CONV4_SHIFT      = 4;
    localparam CONV4_FIFO_DEPTH = 2;

    wire [8*CONV4_PE-1:0] conv4_tdata;
    wire                  conv4_tvalid;
    wire                  conv4_tready;
    wire                  unused_conv4_tlast;

    depthwise_conv2d #(
        .HEIGHT      (10),
        .WIDTH       (10),
        .CHANNELS    (24),
        .KERNEL      (3),
        .LANES       (CONV3_PE),
        .PE          (CONV4_PE),
        .ACC_WIDTH   (CONV4_ACC_WIDTH),
        .SHIFT       (CONV4_SHIFT),
        .FIFO_DEPTH  (CONV4_FIFO_DEPTH),
        .WEIGHT_FILE ("dsnet_conv4_weight.mem"),
        .BIAS_FILE   ("dsnet_conv4_bias.mem")
    ) conv4 (
        .clk           (clk),
        .rst           (rst),
        .s_axis_tdata  (conv3_tdata),
        .s_axis_tvalid (conv3_tvalid),
        .s_axis_tready (conv3_tready),
        .m_axis_tdata  (conv4_tdata),
        .m_axis_tvalid (conv4_tvalid),
        .m_axis_tready (conv4_tready),
        .m_axis_tlast  (unused_conv4_tlast),
        .signature     (signature[127:96])
    );

    // conv5: 24x8x8 -> 48x8x8, 1x1
    localparam CONV5_PE         = 4;
    localparam CONV5_SIMD       = 24;
    localparam CONV5_ACC_WIDTH  = 19;
    localparam CONV5_SHIFT      = 6;
    localparam CONV5_FIFO_DEPTH = 12;

    wire [8*CONV5_PE-1:0] conv5_tdata;
    wire                  conv5_tvalid;
    wire                  conv5_tready;
    wire                  unused_conv5_tlast;

    fc #(
        .VECTORS      (64),
        .CHANNELS     (24),
        .LANES        (CONV4_PE),
        .OUT_FEATURES (48),
        .PE           (CONV5_PE),
        .SIMD         (CONV5_SIMD),
        .ACC_WIDTH    (CONV5_ACC_WIDTH),
        .SHIFT        (CONV5_SHIFT),
        .FIFO_DEPTH   (CONV5_FIFO_DEPTH),
        .WEIGHT_FILE  ("dsnet_conv5_weight.mem"),
        .BIAS_FILE    ("dsnet_conv5_bias.mem")
    ) conv5 (
        .clk           (clk),
        .rst           (rst),
        .s_axis_tdata  (conv4_tdata),
        .s_axis_tvalid (conv4_tvalid),
        .s_axis_tready (conv4_tready),
        .m_axis_tdata  (conv5_tdata),
        .m_axis_tvalid (conv5_tvalid),
        .m_axis_tready (conv5_tready),
        .m_axis_tlast  (unused_conv5_tlast),
        .signature     (signature[159:128])
    );

    // conv5 goes to conv6, add1
    wire [8*CONV5_PE-1:0] conv5_to_conv6_tdata;
    wire                  conv5_to_conv6_tvalid;
    wire                  conv5_to_conv6_tready;
    wire                  unused_conv5_to_conv6_tlast;
    wire [8*CONV5_PE-1:0] conv5_to_add1_tdata;
    wire                  conv5_to_add1_tvalid;
    wire                  conv5_to_add1_tready;
    wire                  unused_conv5_to_add1_tlast;

    axis_fork #(
        .WIDTH   (8*CONV5_PE),
        .READERS (2)
    ) conv5_fork (
        .clk           (clk),
        .rst           (rst),
        .s_axis_tdata  (conv5_tdata),
        .s_axis_tvalid (conv5_tvalid),
        .s_axis_tready (conv5_tready),
        .s_axis_tlast  (1'b0),
        .m_axis_tdata  ({conv5_to_add1_tdata, conv5_to_conv6_tdata}),
        .m_axis_tvalid ({conv5_to_add1_tvalid, conv5_to_conv6_tvalid}),
        .m_axis_tready ({conv5_to_add1_tready, conv5_to_conv6_tready}),
        .m_axis_tlast  ({unused_conv5_to_add1_tlast, unused_conv5_to_conv6_tlast})
    );

    localparam CONV5_TO_ADD1_FIFO_DEPTH = 151;

    wire [8*CONV5_PE-1:0] conv5_to_add1_fifo_tdata;
    wire                  conv5_to_add1_fifo_tvalid;
    wire                  conv5_to_add1_fifo_tready;
    wire                  unused_conv5_to_add1_fifo_tlast;

    axis_fifo #(
        .WIDTH (8*CONV5_PE),
        .DEPTH (CONV5_TO_ADD1_FIFO_DEPTH)
    ) conv5_to_add1_fifo (
        .clk           (clk),
        .rst           (rst),
        .s_axis_tdata  (conv5_to_add1_tdata),
        .s_axis_tvalid (conv5_to_add1_tvalid),
        .s_axis_tready (conv5_to_add1_tready),
        .s_axis_tlast  (1'b0),
        .m_axis_tdata  (conv5_to_add1_fifo_tdata),
        .m_axis_tvalid (conv5_to_add1_fifo_tvalid),
        .m_axis_tready (conv5_to_add1_fifo_tready),
        .m_axis_tlast  (unused_conv5_to_add1_fifo_tlast)
    );

    // conv6: 48x8x8 -> 48x8x8, 3x3 pad 1
    localparam CONV6_PE         = 48;
    localparam CONV6_ACC_WIDTH  = 18;
    localparam CONV6_SHIFT      = 5;
    localparam CONV6_FIFO_DEPTH = 2;

    wire [8*CONV6_PE-1:0] conv6_tdata;
    wire                  conv6_tvalid;
    wire                  conv6_tready;
    wire                  unused_conv6_tlast;

    depthwise_conv2d #(
        .HEIGHT      (8),
        .WIDTH       (8),
        .CHANNELS    (48),
        .KERNEL      (3),
        .PADDING     (1),
        .LANES       (CONV5_PE),
        .PE          (CONV6_PE),
        .ACC_WIDTH   (CONV6_ACC_WIDTH),
        .SHIFT       (CONV6_SHIFT),
        .FIFO_DEPTH  (CONV6_FIFO_DEPTH),
        .WEIGHT_FILE ("dsnet_conv6_weight.mem"),
        .BIAS_FILE   ("dsnet_conv6_bias.mem")
    ) conv6 (
        .clk           (clk),
        .rst           (rst),
        .s_axis_tdata  (conv5_to_conv6_tdata),
        .s_axis_tvalid (conv5_to_conv6_tvalid),
        .s_axis_tready (conv5_to_conv6_tready),
        .m_axis_tdata  (conv6_tdata),
        .m_axis_tvalid (conv6_tvalid),
        .m_axis_tready (conv6_tready),
        .m_axis_tlast  (unused_conv6_tlast),
        .signature     (signature[191:160])
    );

    // conv7: 48x8x8 -> 48x8x8, 1x1
    localparam CONV7_PE         = 4;
    localparam CONV7_SIMD       = 48;
    localparam CONV7_ACC_WIDTH  = 20;
    localparam CONV7_SHIFT      = 6;
    localparam CONV7_FIFO_DEPTH = 13;

    wire [8*CONV7_PE-1:0] conv7_tdata;
    wire                  conv7_tvalid;
    wire                  conv7_tready;
    wire                  unused_conv7_tlast;

    fc #(
        .VECTORS      (64),
        .CHANNELS     (48),
        .LANES        (CONV6_PE),
        .OUT_FEATURES (48),
        .PE           (CONV7_PE),
        .SIMD         (CONV7_SIMD),
        .ACC_WIDTH    (CONV7_ACC_WIDTH),
        .SHIFT        (CONV7_SHIFT),
        .FIFO_DEPTH   (CONV7_FIFO_DEPTH),
        .WEIGHT_FILE  ("dsnet_conv7_weight.mem"),
        .BIAS_FILE    ("dsnet_conv7_bias.mem")
    ) conv7 (
        .clk           (clk),
        .rst           (rst),
        .s_axis_tdata  (conv6_tdata),
        .s_axis_tvalid (conv6_tvalid),
        .s_axis_tready (conv6_tready),
        .m_axis_tdata  (conv7_tdata),
        .m_axis_tvalid (conv7_tvalid),
        .m_axis_tready (conv7_tready),
        .m_axis_tlast  (unused_conv7_tlast),
        .signature     (signature[223:192])
    );

    // add1: 48x8x8 -> 48x8x8, add of conv5, conv7
    localparam ADD1_FIFO_DEPTH = 2;

    wire [8*CONV5_PE-1:0] add1_tdata;
    wire                  add1_tvalid;
    wire                  add1_tready;
    wire                  unused_add1_tlast;

    axis_add #(
        .POSITIONS  (64),
        .CHANNELS   (48),
        .LANES      (CONV5_PE),
        .SUM_WIDTH  (12),
        .FACTOR_A   (2),
        .FACTOR_B   (4),
        .OFFSET     (2),
        .SHIFT      (2),
        .TIE        (1),
        .FIFO_DEPTH (ADD1_FIFO_DEPTH)
    ) add1 (
        .clk           (clk),
        .rst           (rst),
        .s_axis_tdata  ({conv7_tdata, conv5_to_add1_fifo_tdata}),
        .s_axis_tvalid ({conv7_tvalid, conv5_to_add1_fifo_tvalid}),
        .s_axis_tready ({conv7_tready, conv5_to_add1_fifo_tready}),
        .m_axis_tdata  (add1_tdata),
        .m_axis_tvalid (add1_tvalid),
        .m_axis_tready (add1_tready),
        .m_axis_tlast  (unused_add1_tlast)
    );

    // pool2: 48x8x8 -> 48x1x1, 8x8 stride 8
    localparam POOL2_SHIFT      = 5;
    localparam POOL2_FIFO_DEPTH = 10;

    wire [8*CONV5_PE-1:0] pool2_tdata;
    wire                  pool2_tvalid;
    wire                  pool2_tready;
    wire                  unused_pool2_tlast;

    avgpool2d #(
        .HEIGHT     (8),
        .WIDTH      (8),
        .CHANNELS   (48),
        .KERNEL     (8),
        .LANES      (CONV5_PE),
        .RUNNING    (1),
        .SHIFT      (POOL2_SHIFT),
        .FIFO_DEPTH (POOL2_FIFO_DEPTH)
    ) pool2 (
        .clk           (clk),
        .rst           (rst),
        .s_axis_tdata  (add1_tdata),
        .s_axis_tvalid (add1_tvalid),
        .s_axis_tready (add1_tready),
        .m_axis_tdata  (pool2_tdata),
        .m_axis_tvalid (pool2_tvalid),
        .m_axis_tready (pool2_tready),
        .m_axis_tlast  (unused_pool2_tlast)
    );

    // fc: 48x1x1 -> 10x1x1, input-major
    localparam FC_PE         = 1;
    localparam FC_SIMD       = 1;
    localparam FC_ACC_WIDTH  = 21;
    localparam FC_FIFO_DEPTH = 7;

    wire [32*FC_PE-1:0] fc_tdata;
    wire                fc_tvalid;
    wire                fc_tready;
    wire                fc_tlast;

    fc #(
        .POSITIONS    (1),
        .CHANNELS     (48),
        .LANES        (CONV5_PE),
        .OUT_FEATURES (10),
        .PE           (FC_PE),
        .SIMD         (FC_SIMD),
        .INPUT_MAJOR  (1),
        .ACC_WIDTH    (FC_ACC_WIDTH),
        .OUT_WIDTH    (32),
        .FIFO_DEPTH   (FC_FIFO_DEPTH),
        .WEIGHT_FILE  ("dsnet_fc_weight.mem"),
        .BIAS_FILE    ("dsnet_fc_bias.mem")
    ) fc (
        .clk           (clk),
        .rst           (rst),
        .s_axis_tdata  (pool2_tdata),
        .s_axis_tvalid (pool2_tvalid),
        .s_axis_tready (pool2_tready),
        .m_axis_tdata  (fc_tdata),
        .m_axis_tvalid (fc_tvalid),
        .m_axis_tready (fc_tready),
        .m_axis_tlast  (fc_tlast),
        .signature     (signature[255:224])
    );

    // The class comes with the last logit; images of a wrong length are dropped.
    localparam CLASSES     = 10;
    localparam LOGIT_LANES = 1;

    wire [32*LOGIT_LANES-1:0] class_tdata;
    wire                      class_tvalid;
    wire                      class_tready;
    wire                      class_tlast;
    wire [15:0]               class_tuser;

    argmax #(
        .CLASSES (CLASSES),
        .LANES   (LOGIT_LANES),
        .WIDTH   (32)
    ) classify (
        .clk           (clk),
        .rst           (rst),
        .s_axis_tdata  (fc_tdata),
        .s_axis_tvalid (fc_tvalid),
        .s_axis_tready (fc_tready),
        .s_axis_tlast  (fc_tlast),
        .m_axis_tdata  (class_tdata),
        .m_axis_tvalid (class_tvalid),
        .m_axis_tready (class_tready),
        .m_axis_tlast  (class_tlast),
        .m_axis_tuser  (class_tuser)
    );

    frame_drop #(
        .WIDTH (16 + 32*LOGIT_LANES)
    ) drop (
        .s_axis_tdata  ({class_tuser, class_tdata}),
        .s_axis_tvalid (class_tvalid),
        .s_axis_tready (class_tready),
        .s_axis_tlast  (class_tlast),
        .s_flag_tdata  (flag_fifo_tdata),
        .s_flag_tvalid (flag_fifo_tvalid),
        .s_flag_tready (flag_fifo_tready),
        .m_axis_tdata  ({m_axis_tuser, m_axis_tdata}),
        .m_axis_tvalid (m_axis_tvalid),
        .m_axis_tready (m_axis_tready),
        .m_axis_tlast  (m_axis_tlast)
    );

endmodule

`default_nettype wire
