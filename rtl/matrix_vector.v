// SPDX-License-Identifier: Apache-2.0
//
// The arithmetic of a convolution or fully connected layer: PE x SIMD multipliers (times PIXELS,
// which share the weights) that go through a matrix of GROUPS*PE rows and CHUNKS*SIMD columns.
//
//   y[row] = requantise(bias[row] + sum over col of w[row][col] * x[col])
//
// The rows share x, or each has one of its own, as in a depthwise convolution.
//
// Takes one beat every clock: SIMD elements of each of VECTORS vectors, in the order that
// fold_counter names. A beat's data comes a clock after its handshake, and then `s_group` and
// `s_chunk` name what it must be. Weights and biases are those of model/hardware/rom.py.
// A vector takes GROUPS*CHUNKS clocks and gives GROUPS beats of PE channels.
//
// Nothing in the pipeline ever waits: a beat is taken only while there is credit for its result, see
// row_stream. One result a clock needs a FIFO_DEPTH of the latency and 1; where a result takes that
// many clocks, 2 is enough.
// Latency: 6 + ceil(log2(SIMD)) clocks from a group's last chunk to its result; with scales
// SCALE_CLOCKS + 2 more. The FIFO takes it one clock earlier: `Compute.length` in
// model/hardware/timing.py.

`default_nettype none

module matrix_vector #(
    parameter PIXELS       = 1,   // results of each row at once
    parameter PE           = 1,   // rows at once
    parameter SIMD         = 1,   // columns at once
    parameter FABRIC       = 0,   // of SIMD products, those in plain logic
    parameter GROUPS       = 1,   // ceil(rows / PE)
    parameter CHUNKS       = 1,   // ceil(columns / SIMD)
    parameter GROUP_INNER  = 0,   // order of the folds, see fold_counter
    parameter ACC_WIDTH    = 32,  // bits that hold every accumulator
    parameter SHIFT        = 0,   // requantising shift
    parameter ZERO_POINT   = 0,   // see clamp_code
    parameter LOW          = 0,
    parameter HIGH         = 255,
    parameter SCALE_WIDTH  = 0,   // bits of a scale, see scale_requantise; 0: shift alone
    parameter SCALE_EXACT  = 0,   // see scale_round
    parameter ONE_SCALE    = 0,   // all rows have the same scale
    parameter OUT_WIDTH    = 8,   // 8: uint8, 32: logits
    parameter FIFO_DEPTH   = 16,  // results it takes up; see above
    parameter WEIGHT_FILE  = "",
    parameter BIAS_FILE    = "",
    parameter SCALE_FILE   = "",
    parameter VECTORS      = PIXELS,  // or PIXELS*PE: each row has its own
    parameter GROUP_WIDTH  = (GROUPS > 1) ? $clog2(GROUPS) : 1,
    parameter CHUNK_WIDTH  = (CHUNKS > 1) ? $clog2(CHUNKS) : 1
) (
    input  wire                           clk,
    input  wire                           rst,
    input  wire [8*SIMD*VECTORS-1:0]      s_axis_tdata,  // vector v, element i at byte v*SIMD + i
    input  wire                           s_axis_tlast,  // this is the image's last vector
    input  wire                           s_axis_tvalid,
    output wire                           s_axis_tready,
    output wire [GROUP_WIDTH-1:0]         s_group,       // rows that s_axis_tdata must be for
    output wire [CHUNK_WIDTH-1:0]         s_chunk,       // chunk that it must hold
    output wire                           s_chunk_done,  // (GROUP_INNER) it is its chunk's last use
    output wire                           s_vector_done, // the next beat is the vector's last
    output wire [OUT_WIDTH*PIXELS*PE-1:0] m_axis_tdata,  // pixel p, row pe at lane p*PE + pe
    output wire                           m_axis_tlast,
    output wire                           m_axis_tvalid,
    input  wire                           m_axis_tready,
    output wire [31:0]                    signature      // hashes of {bias and scale, weight}
);

    localparam LEVELS       = (SIMD > 1) ? $clog2(SIMD) : 0;  // of the adder trees
    localparam SUM_WIDTH    = 16 + LEVELS;
    localparam DEPTH        = GROUPS * CHUNKS;
    localparam ADDR_WIDTH   = (DEPTH > 1) ? $clog2(DEPTH) : 1;
    localparam SCALED       = OUT_WIDTH == 8 && SCALE_WIDTH != 0;
    // A product takes as many clocks as are sure to lie between two results, or fewer if the digits
    // are as short in fewer.
    localparam SCALE_MOST   = ((GROUP_INNER == 0 || GROUPS == 1) && CHUNKS > 2) ? CHUNKS - 1 : 1;
    localparam SCALE_DIGIT  = SCALED ? (SCALE_WIDTH + SCALE_MOST - 1) / SCALE_MOST : 1;
    localparam SCALE_CLOCKS = SCALED ? (SCALE_WIDTH + SCALE_DIGIT - 1) / SCALE_DIGIT : 1;
    localparam SCALE_BITS   = SCALED ? SCALE_WIDTH * ((ONE_SCALE != 0) ? 1 : PE) : 0;
    localparam WORD_WIDTH   = SCALED ? SCALE_BITS : 1;

    wire s_group_last, s_chunk_last, s_last;
    wire accept = s_axis_tvalid && s_axis_tready;

    // Operands. The weights are read in the order in which they stand.
    reg  [ADDR_WIDTH-1:0]        addr_reg = 0;
    reg  [8*SIMD*VECTORS-1:0]    x_reg;
    wire [GROUP_WIDTH-1:0]       group_next;
    wire [CHUNK_WIDTH-1:0]       chunk_next;
    reg  [GROUP_WIDTH-1:0]       group_reg;
    reg  [CHUNK_WIDTH-1:0]       chunk_reg;
    wire [8*SIMD*PE-1:0]         weights;

    fold_counter #(
        .GROUPS(GROUPS), .CHUNKS(CHUNKS), .GROUP_INNER(GROUP_INNER)
    ) input_fold (
        .clk(clk), .rst(rst), .step(accept),
        .group(group_next), .chunk(chunk_next),
        .group_last(s_group_last), .chunk_last(s_chunk_last), .last(s_last)
    );

    assign s_chunk_done  = (GROUP_INNER == 0) || s_group_last;
    assign s_vector_done = s_last;
    assign s_group       = group_reg;
    assign s_chunk       = chunk_reg;

    weight_rom #(
        .WIDTH(8*SIMD*PE), .DEPTH(DEPTH), .FILE(WEIGHT_FILE)
    ) weight_memory (
        .clk(clk), .addr(addr_reg), .data(weights)
    );

    always @(posedge clk) begin
        group_reg <= group_next;
        chunk_reg <= chunk_next;
        x_reg     <= s_axis_tdata;
        if (accept)
            addr_reg <= s_last ? {ADDR_WIDTH{1'b0}} : addr_reg + 1'b1;
        if (rst)
            addr_reg <= 0;
    end

    // Bit 0 of these stands beside a beat's data as it comes, bit 1 beside x_reg and its weights,
    // bit SUM beside the sums.
    localparam SUM = LEVELS + 3;
    reg [SUM:0] valid_reg = 0;
    reg [SUM:0] image_last_reg;

    always @(posedge clk) begin
        valid_reg      <= {valid_reg[SUM-1:0], accept};
        image_last_reg <= {image_last_reg[SUM-1:0], s_axis_tlast};
        if (rst)
            valid_reg <= 0;
    end

    // Sums arrive in the order of the beats, so a second counter names them, two clocks ahead: it
    // addresses memories.
    wire [GROUP_WIDTH-1:0] group;
    wire [CHUNK_WIDTH-1:0] chunk;
    wire                   group_last, chunk_last, unused_last;
    reg  [1:0]             first_reg, final_reg, group_last_reg;
    wire [32*PE-1:0]       biases;

    fold_counter #(
        .GROUPS(GROUPS), .CHUNKS(CHUNKS), .GROUP_INNER(GROUP_INNER)
    ) sum_fold (
        .clk(clk), .rst(rst), .step(valid_reg[SUM-2]),
        .group(group), .chunk(chunk),
        .group_last(group_last), .chunk_last(chunk_last), .last(unused_last)
    );

    weight_rom #(
        .WIDTH(32*PE), .DEPTH(GROUPS), .FILE(BIAS_FILE)
    ) bias_memory (
        .clk(clk), .addr(group), .data(biases)
    );

    always @(posedge clk) begin
        first_reg      <= {first_reg[0], chunk == 0};
        final_reg      <= {final_reg[0], chunk_last};
        group_last_reg <= {group_last_reg[0], group_last};
    end

    // The array, whose accumulators stand a clock behind the sums.
    wire [ACC_WIDTH*PIXELS*PE-1:0] accs;

    genvar pixel, pe;
    generate
        for (pixel = 0; pixel < PIXELS; pixel = pixel + 1) begin : gen_pixel
            for (pe = 0; pe < PE; pe = pe + 1) begin : gen_pe
                localparam LANE   = pixel*PE + pe;
                localparam VECTOR = (VECTORS == PIXELS) ? pixel : LANE;

                // A bias fits into the accumulator; the rest of its word is the sign.
                wire signed [31:0]          bias = biases[32*pe +: 32];
                wire                        unused = &{1'b0, bias};
                wire signed [SUM_WIDTH-1:0] sum;
                wire signed [ACC_WIDTH-1:0] acc;
                assign accs[ACC_WIDTH*LANE +: ACC_WIDTH] = acc;

                dot_product #(
                    .SIMD(SIMD), .FABRIC(FABRIC), .CONSTANT(DEPTH == 1)
                ) dot_product (
                    .clk(clk),
                    .x(x_reg[8*SIMD*VECTOR +: 8*SIMD]), .w(weights[8*SIMD*pe +: 8*SIMD]),
                    .sum(sum)
                );

                accumulator #(
                    .GROUPS((GROUP_INNER != 0) ? GROUPS : 1), .GROUP_WIDTH(GROUP_WIDTH),
                    .SUM_WIDTH(SUM_WIDTH), .ACC_WIDTH(ACC_WIDTH)
                ) accumulator (
                    .clk(clk), .enable(valid_reg[SUM]), .first(first_reg[1]),
                    .next_group(group), .bias(bias[ACC_WIDTH-1:0]), .sum(sum), .acc(acc)
                );
            end
        end
    endgenerate

    // An accumulator leaves when a group's last chunk has been added.
    reg acc_valid_reg = 1'b0;
    reg acc_last_reg;

    always @(posedge clk) begin
        acc_valid_reg <= valid_reg[SUM] && final_reg[1];
        acc_last_reg  <= image_last_reg[SUM] && group_last_reg[1];
        if (rst)
            acc_valid_reg <= 1'b0;
    end

    // A group spends its credit with its last beat, so there is credit for all of its beats or for
    // none.
    wire [WORD_WIDTH-1:0] scales;

    row_stream #(
        .PIXELS(PIXELS), .PE(PE), .GROUPS(GROUPS), .ACC_WIDTH(ACC_WIDTH),
        .SHIFT(SHIFT), .ZERO_POINT(ZERO_POINT), .LOW(LOW), .HIGH(HIGH), .SCALE_WIDTH(SCALE_WIDTH),
        .SCALE_EXACT(SCALE_EXACT), .ONE_SCALE(ONE_SCALE), .SCALE_FILE(SCALE_FILE),
        .CLOCKS(SCALE_CLOCKS), .WORD_WIDTH(WORD_WIDTH), .OUT_WIDTH(OUT_WIDTH),
        .FIFO_DEPTH(FIFO_DEPTH)
    ) row_stream (
        .clk(clk), .rst(rst), .spend(accept && s_chunk_last), .ready(s_axis_tready),
        .next_group(group), .s_accs(accs), .s_last(acc_last_reg), .s_valid(acc_valid_reg),
        .word(scales),
        .m_axis_tdata(m_axis_tdata), .m_axis_tlast(m_axis_tlast),
        .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready)
    );

    // Weight words come in order; a bias word comes with each chunk of its group, so only with one
    // of them does it count. The scales are there by the last one.
    wire [WORD_WIDTH+32*PE-1:0] both = {scales, biases};
    wire                        unused_scales = &{1'b0, both[WORD_WIDTH+32*PE-1]};

    rom_signature #(
        .WIDTH(8*SIMD*PE), .DEPTH(DEPTH)
    ) weight_signature (
        .clk(clk), .rst(rst), .word(weights), .valid(valid_reg[1]), .signature(signature[15:0])
    );

    rom_signature #(
        .WIDTH(32*PE+SCALE_BITS), .DEPTH(GROUPS)
    ) bias_signature (
        .clk(clk), .rst(rst), .word(both[32*PE+SCALE_BITS-1:0]),
        .valid(valid_reg[SUM] && (SCALED ? final_reg[1] : first_reg[1])),
        .signature(signature[31:16])
    );

endmodule

`default_nettype wire
