// SPDX-License-Identifier: Apache-2.0
//
// Fully connected layer with bias, requantised (and so ReLU'd) to uint8, or as raw int32 logits. With
// VECTORS pixels an image, each a vector, it is a 1x1 convolution.
//
//   y[o] = requantise(bias[o] + sum over i of w[o][i] * x[i])
//
// The vector x is the feature map in order of arrival. PE outputs and SIMD products of each are
// computed at once; they need not divide the layer's sizes.
//
//   INPUT_MAJOR 0: the vector is kept and used once for each group of PE outputs, which leave one
//                  by one: overlaps with the layer after it.
//   INPUT_MAJOR 1: each input is used for all outputs as it comes, and these leave together at the
//                  end: overlaps with the layer before it.
//
// Cycles a vector: ceil(OUT_FEATURES / PE) * ceil(POSITIONS*CHANNELS / SIMD), or one an input beat
// where those are more. Equals model.network.layers.linear.fc followed by
// model.network.reference.requantise.

`default_nettype none

module fc #(
    parameter VECTORS      = 1,   // vectors an image
    parameter POSITIONS    = 1,   // pixels of a vector, a multiple of PIXELS
    parameter CHANNELS     = 16,  // channels of a pixel
    parameter LANES        = 1,   // channels in an input beat; a divisor of CHANNELS if PIXELS > 1
    parameter PIXELS       = 1,   // pixels in an input beat
    parameter OUT_FEATURES = 10,
    parameter PE           = 1,   // outputs at once
    parameter SIMD         = 1,   // products at once
    parameter INPUT_MAJOR  = 0,
    parameter ACC_WIDTH    = 32,  // bits that hold every accumulator
    parameter SHIFT        = 0,   // requantising shift
    parameter ZERO_POINT   = 0,   // see clamp_code
    parameter LOW          = 0,   // least code
    parameter HIGH         = 255, // greatest code
    parameter SCALE_WIDTH  = 0,   // bits of a scale, see matrix_vector; 0: shift alone
    parameter SCALE_EXACT  = 0,   // see scale_round
    parameter ONE_SCALE    = 0,   // all channels have the same scale
    parameter OUT_WIDTH    = 8,   // 8: uint8, 32: logits
    parameter FABRIC       = 0,   // of SIMD products, those in plain logic
    parameter FIFO_DEPTH   = 16,  // output beats taken up, see matrix_vector
    parameter WEIGHT_FILE  = "",  // words of PE*SIMD weights, as in hardware/rom.py
    parameter BIAS_FILE    = "",  // words of PE biases of 32 bits
    parameter SCALE_FILE   = ""   // words of PE scales
) (
    input  wire                      clk,
    input  wire                      rst,
    input  wire [8*PIXELS*LANES-1:0] s_axis_tdata,
    input  wire                      s_axis_tvalid,
    output wire                      s_axis_tready,
    output wire [OUT_WIDTH*PE-1:0]   m_axis_tdata,
    output wire                      m_axis_tlast,
    output wire                      m_axis_tvalid,
    input  wire                      m_axis_tready,
    output wire [31:0]               signature  // {bias, weight}, see rom_signature
);

    localparam IN_FEATURES = POSITIONS * CHANNELS;
    localparam GROUPS      = (OUT_FEATURES + PE - 1) / PE;
    localparam CHUNKS      = (IN_FEATURES + SIMD - 1) / SIMD;

    generate
        if (SIMD > IN_FEATURES) begin : gen_bad_simd
            error_SIMD_must_be_at_most_the_inputs error();
        end
        if (PE > OUT_FEATURES) begin : gen_bad_pe
            error_PE_must_be_at_most_OUT_FEATURES error();
        end
    endgenerate

    wire [8*SIMD-1:0] chunk_data, operands;
    reg  [8*SIMD-1:0] operands_reg;  // matrix_vector wants them a clock after their handshake
    wire              chunk_valid, chunk_ready, operands_valid, operands_ready, chunk_done;
    wire              image_last, vector_done, unused_last;
    wire [((GROUPS > 1) ? $clog2(GROUPS) : 1)-1:0] unused_group;
    wire [((CHUNKS > 1) ? $clog2(CHUNKS) : 1)-1:0] unused_chunk;

    width_converter #(
        .POSITIONS(POSITIONS), .CHANNELS(CHANNELS), .LANES(LANES), .PIXELS(PIXELS), .SIMD(SIMD)
    ) pack (
        .clk(clk), .rst(rst),
        .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
        .m_axis_tdata(chunk_data), .m_axis_tlast(unused_last), .m_axis_tvalid(chunk_valid),
        .m_axis_tready(chunk_ready)
    );

    generate
        if (INPUT_MAJOR != 0) begin : gen_as_they_come
            assign operands       = chunk_data;
            assign operands_valid = chunk_valid;
            assign chunk_ready    = operands_ready && chunk_done;
        end else begin : gen_kept
            wire unused = &{1'b0, chunk_done};
            vector_buffer #(
                .WIDTH(8*SIMD), .CHUNKS(CHUNKS), .REPEATS(GROUPS)
            ) keep (
                .clk(clk), .rst(rst),
                .s_axis_tdata(chunk_data), .s_axis_tvalid(chunk_valid), .s_axis_tready(chunk_ready),
                .m_axis_tdata(operands), .m_axis_tvalid(operands_valid),
                .m_axis_tready(operands_ready)
            );
        end
    endgenerate

    always @(posedge clk)
        operands_reg <= operands;

    generate
        if (VECTORS > 1) begin : gen_vectors
            localparam VECTOR_WIDTH = $clog2(VECTORS);
            localparam [VECTOR_WIDTH-1:0] VECTOR_LAST = VECTORS[VECTOR_WIDTH-1:0] - 1'b1;

            reg [VECTOR_WIDTH-1:0] vector_reg = 0;

            assign image_last = vector_reg == VECTOR_LAST;

            always @(posedge clk) begin
                if (operands_valid && operands_ready && vector_done)
                    vector_reg <= image_last ? {VECTOR_WIDTH{1'b0}} : vector_reg + 1'b1;
                if (rst)
                    vector_reg <= 0;
            end
        end else begin : gen_vector
            wire unused = &{1'b0, vector_done};
            assign image_last = 1'b1;
        end
    endgenerate

    matrix_vector #(
        .PIXELS(1), .PE(PE), .SIMD(SIMD), .FABRIC(FABRIC), .GROUPS(GROUPS), .CHUNKS(CHUNKS),
        .GROUP_INNER(INPUT_MAJOR), .ACC_WIDTH(ACC_WIDTH), .SHIFT(SHIFT), .ZERO_POINT(ZERO_POINT),
        .LOW(LOW), .HIGH(HIGH), .SCALE_WIDTH(SCALE_WIDTH), .SCALE_EXACT(SCALE_EXACT),
        .ONE_SCALE(ONE_SCALE), .SCALE_FILE(SCALE_FILE), .OUT_WIDTH(OUT_WIDTH),
        .FIFO_DEPTH(FIFO_DEPTH), .WEIGHT_FILE(WEIGHT_FILE), .BIAS_FILE(BIAS_FILE)
    ) compute (
        .clk(clk), .rst(rst),
        .s_axis_tdata(operands_reg), .s_axis_tlast(image_last), .s_axis_tvalid(operands_valid),
        .s_axis_tready(operands_ready),
        .s_group(unused_group), .s_chunk(unused_chunk), .s_chunk_done(chunk_done),
        .s_vector_done(vector_done),
        .m_axis_tdata(m_axis_tdata), .m_axis_tlast(m_axis_tlast),
        .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready),
        .signature(signature)
    );

endmodule

`default_nettype wire
