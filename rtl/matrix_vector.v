// SPDX-License-Identifier: Apache-2.0
//
// The arithmetic of a convolution or fully connected layer: PE x SIMD multipliers (times PIXELS,
// which share the weights) that go through a matrix of GROUPS*PE rows and CHUNKS*SIMD columns.
//
//   y[row] = requantise(bias[row] + sum over col of w[row][col] * x[col])
//
// Takes one beat every clock: SIMD elements of each of PIXELS vectors, in the order that
// fold_counter names; the beat wanted next is chunk `s_chunk`. Weights and biases are those of
// model/memory.py.
// A vector takes GROUPS*CHUNKS clocks and gives GROUPS beats of PE channels.
// Latency: 3 + ceil(log2(SIMD)) clocks from a group's last chunk to its result.

`default_nettype none

module matrix_vector #(
    parameter PIXELS      = 1,   // vectors at once
    parameter PE          = 1,   // rows at once
    parameter SIMD        = 1,   // columns at once
    parameter GROUPS      = 1,   // ceil(rows / PE)
    parameter CHUNKS      = 1,   // ceil(columns / SIMD)
    parameter GROUP_INNER = 0,   // order of the folds, see fold_counter
    parameter ACC_WIDTH   = 32,  // bits that hold every accumulator
    parameter SHIFT       = 0,   // requantising shift
    parameter OUT_WIDTH   = 8,   // 8: uint8, 32: logits
    parameter WEIGHT_FILE = "",
    parameter BIAS_FILE   = "",
    parameter CHUNK_WIDTH = (CHUNKS > 1) ? $clog2(CHUNKS) : 1
) (
    input  wire                           clk,
    input  wire                           rst,
    input  wire [8*SIMD*PIXELS-1:0]       s_axis_tdata,  // pixel p, element i at byte p*SIMD + i
    input  wire                           s_axis_tlast,  // this is the image's last vector
    input  wire                           s_axis_tvalid,
    output wire                           s_axis_tready,
    output wire [CHUNK_WIDTH-1:0]         s_chunk,       // chunk that the next beat must hold
    output wire                           s_chunk_done,  // (GROUP_INNER) it is its chunk's last use
    output wire                           s_vector_done, // the next beat is the vector's last
    output wire [OUT_WIDTH*PIXELS*PE-1:0] m_axis_tdata,  // pixel p, row pe at lane p*PE + pe
    output wire                           m_axis_tlast,
    output wire                           m_axis_tvalid,
    input  wire                           m_axis_tready
);

    localparam SUM_WIDTH   = 16 + ((SIMD > 1) ? $clog2(SIMD) : 0);
    localparam DEPTH       = GROUPS * CHUNKS;
    localparam ADDR_WIDTH  = (DEPTH > 1) ? $clog2(DEPTH) : 1;
    localparam GROUP_WIDTH = (GROUPS > 1) ? $clog2(GROUPS) : 1;
    localparam STAGES      = SUM_WIDTH - 15;  // latency of the dot products
    localparam [ADDR_WIDTH-1:0] ADDR_LAST = DEPTH[ADDR_WIDTH-1:0] - 1'b1;

    // The whole pipeline moves or holds together.
    reg  out_valid_reg;
    wire enable = !out_valid_reg || m_axis_tready;
    wire accept = s_axis_tvalid && s_axis_tready;
    assign s_axis_tready = enable;

    // Operands. The weights are read in the order in which they stand.
    reg  [ADDR_WIDTH-1:0]        addr_reg;
    reg  [8*SIMD*PIXELS-1:0]     x_reg;
    wire [8*SIMD*PE-1:0]         weights;
    wire                         s_group_last, s_chunk_last;
    wire [GROUP_WIDTH-1:0]       unused_group;

    fold_counter #(
        .GROUPS(GROUPS), .CHUNKS(CHUNKS), .GROUP_INNER(GROUP_INNER)
    ) input_fold (
        .clk(clk), .rst(rst), .step(accept),
        .group(unused_group), .chunk(s_chunk), .group_last(s_group_last), .chunk_last(s_chunk_last)
    );

    assign s_chunk_done  = (GROUP_INNER == 0) || s_group_last;
    assign s_vector_done = s_group_last && s_chunk_last;

    weight_rom #(
        .WIDTH(8*SIMD*PE), .DEPTH(DEPTH), .FILE(WEIGHT_FILE)
    ) weight_memory (
        .clk(clk), .read(enable), .addr(addr_reg), .data(weights)
    );

    always @(posedge clk) begin
        if (enable)
            x_reg <= s_axis_tdata;
        if (accept)
            addr_reg <= (addr_reg == ADDR_LAST) ? {ADDR_WIDTH{1'b0}} : addr_reg + 1'b1;
        if (rst)
            addr_reg <= 0;
    end

    // Bit i of these stands beside the operands that entered the dot products i clocks ago.
    reg [STAGES:0] valid_reg, image_last_reg;

    always @(posedge clk) begin
        if (enable) begin
            valid_reg      <= {valid_reg[STAGES-1:0], s_axis_tvalid};
            image_last_reg <= {image_last_reg[STAGES-1:0], s_axis_tlast};
        end
        if (rst)
            valid_reg <= 0;
    end

    // Sums arrive in the order of the beats, so a second counter names them.
    wire [GROUP_WIDTH-1:0] group;
    reg  [GROUP_WIDTH-1:0] group_reg;
    wire [CHUNK_WIDTH-1:0] chunk;
    wire                   group_last, chunk_last;
    reg                    first_reg, final_reg, group_last_reg;
    wire [32*PE-1:0]       biases;

    fold_counter #(
        .GROUPS(GROUPS), .CHUNKS(CHUNKS), .GROUP_INNER(GROUP_INNER)
    ) sum_fold (
        .clk(clk), .rst(rst), .step(enable && valid_reg[STAGES-1]),
        .group(group), .chunk(chunk), .group_last(group_last), .chunk_last(chunk_last)
    );

    weight_rom #(
        .WIDTH(32*PE), .DEPTH(GROUPS), .FILE(BIAS_FILE)
    ) bias_memory (
        .clk(clk), .read(enable), .addr(group), .data(biases)
    );

    always @(posedge clk)
        if (enable) begin
            group_reg      <= group;
            group_last_reg <= group_last;
            first_reg      <= chunk == 0;
            final_reg      <= chunk_last;
        end

    // The array.
    genvar pixel, pe;
    generate
        for (pixel = 0; pixel < PIXELS; pixel = pixel + 1) begin : gen_pixel
            for (pe = 0; pe < PE; pe = pe + 1) begin : gen_pe
                // A bias fits into the accumulator; the rest of its word is the sign.
                wire signed [31:0]          bias = biases[32*pe +: 32];
                wire                        unused = &{1'b0, bias};
                wire signed [SUM_WIDTH-1:0] sum;
                wire signed [ACC_WIDTH-1:0] acc;
                wire        [OUT_WIDTH-1:0] y;
                reg         [OUT_WIDTH-1:0] y_reg;

                dot_product #(
                    .SIMD(SIMD)
                ) dot_product (
                    .clk(clk), .enable(enable),
                    .x(x_reg[8*SIMD*pixel +: 8*SIMD]), .w(weights[8*SIMD*pe +: 8*SIMD]),
                    .sum(sum)
                );

                accumulator #(
                    .GROUPS((GROUP_INNER != 0) ? GROUPS : 1), .GROUP_WIDTH(GROUP_WIDTH),
                    .SUM_WIDTH(SUM_WIDTH), .ACC_WIDTH(ACC_WIDTH)
                ) accumulator (
                    .clk(clk), .enable(enable && valid_reg[STAGES]), .first(first_reg),
                    .group(group_reg), .bias(bias[ACC_WIDTH-1:0]), .sum(sum), .acc(acc)
                );

                requantise #(
                    .ACC_WIDTH(ACC_WIDTH), .SHIFT(SHIFT), .OUT_WIDTH(OUT_WIDTH)
                ) requantise (
                    .acc(acc), .y(y)
                );

                always @(posedge clk)
                    if (enable)
                        y_reg <= y;

                assign m_axis_tdata[OUT_WIDTH*(pixel*PE + pe) +: OUT_WIDTH] = y_reg;
            end
        end
    endgenerate

    // A result leaves when a group's last chunk has been added.
    reg out_last_reg;
    assign m_axis_tvalid = out_valid_reg;
    assign m_axis_tlast  = out_last_reg;

    always @(posedge clk) begin
        if (enable) begin
            out_valid_reg <= valid_reg[STAGES] && final_reg;
            out_last_reg  <= image_last_reg[STAGES] && group_last_reg;
        end
        if (rst)
            out_valid_reg <= 1'b0;
    end

endmodule

`default_nettype wire
