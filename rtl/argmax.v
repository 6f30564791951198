// SPDX-License-Identifier: Apache-2.0
//
// Passes the logits on and says beside each beat which has been the largest so far; beside the
// image's last beat that is the class. The lowest index wins a tie.
//
// Latency: 2 + ceil(log2(LANES)) clocks. Equals model.network.reference.argmax.

`default_nettype none

module argmax #(
    parameter CLASSES = 10,  // logits an image, at most 65,536
    parameter LANES   = 1,   // logits a beat; those of the last beat beyond CLASSES do not count
    parameter WIDTH   = 32,  // bits of a logit, 2 or more
    parameter SIGNED  = 1    // 0: logits are codes from 0 on
) (
    input  wire                   clk,
    input  wire                   rst,
    input  wire [WIDTH*LANES-1:0] s_axis_tdata,
    input  wire                   s_axis_tlast,
    input  wire                   s_axis_tvalid,
    output wire                   s_axis_tready,
    output wire [WIDTH*LANES-1:0] m_axis_tdata,
    output wire [15:0]            m_axis_tuser,  // index of the largest logit so far
    output wire                   m_axis_tlast,
    output wire                   m_axis_tvalid,
    input  wire                   m_axis_tready
);

    localparam BEATS       = (CLASSES + LANES - 1) / LANES;
    localparam LAST_LANES  = CLASSES - (BEATS - 1)*LANES;  // logits in an image's last beat
    localparam LEVELS      = (LANES > 1) ? $clog2(LANES) : 0;
    localparam STAGES      = LEVELS + 2;
    localparam LANE_WIDTH  = (LANES > 1) ? $clog2(LANES) : 1;
    localparam INDEX_WIDTH = (BEATS*LANES > 1) ? $clog2(BEATS*LANES) : 1;
    localparam [15:0] STEP = LANES[15:0];
    // With their top bit flipped, codes are in the order of signed numbers.
    localparam [WIDTH-1:0] FLIPPED = (SIGNED != 0) ? 0 : 1 << (WIDTH - 1);

    function integer nodes;  // of a level: ceil(LANES / 2^level)
        input integer level_of;
        nodes = (LANES + (1 << level_of) - 1) >> level_of;
    endfunction

    // Stage by stage a beat moves on as soon as there is room, with its logits beside it: first
    // into a register, then a level of comparisons each, and last the one with the largest of the
    // beats before.
    reg  [STAGES:1] valid_reg = 0;
    wire [STAGES:0] valid = {valid_reg, s_axis_tvalid};

    assign s_axis_tready = gen_stage[0].ready;
    assign m_axis_tvalid = valid[STAGES];

    genvar stage, level, node;
    generate
        for (stage = 0; stage <= STAGES; stage = stage + 1) begin : gen_stage
            wire [WIDTH*LANES:0] beat;
            wire                 ready;
            if (stage == 0) begin : gen_in
                assign beat  = {s_axis_tlast, s_axis_tdata};
                assign ready = gen_stage[1].ready;
            end else begin : gen_register
                reg [WIDTH*LANES:0] beat_reg;
                assign beat = beat_reg;
                if (stage == STAGES) begin : gen_out
                    assign ready = !valid[stage] || m_axis_tready;
                end else begin : gen_on
                    assign ready = !valid[stage] || gen_stage[stage+1].ready;
                end
                always @(posedge clk) begin
                    if (ready) begin
                        valid_reg[stage] <= valid[stage-1];
                        beat_reg         <= gen_stage[stage-1].beat;
                    end
                    if (rst)
                        valid_reg[stage] <= 1'b0;
                end
            end
        end

        // Node n of a level, which stage 1 + level holds, is the larger of nodes 2n and 2n+1 below.
        // Lanes count from the lowest on: where the upper one does, the lower one does too.
        for (level = 0; level <= LEVELS; level = level + 1) begin : gen_level
            for (node = 0; node < nodes(level); node = node + 1) begin : gen_node
                wire signed [WIDTH-1:0]      logit;
                wire        [LANE_WIDTH-1:0] lane;
                wire                         counts;
                if (level == 0) begin : gen_lane
                    assign logit  = gen_stage[1].beat[WIDTH*node +: WIDTH] ^ FLIPPED;
                    assign lane   = node;
                    assign counts = node < LAST_LANES || !gen_stage[1].beat[WIDTH*LANES];
                end else begin : gen_larger
                    reg signed [WIDTH-1:0]      logit_reg;
                    reg        [LANE_WIDTH-1:0] lane_reg;
                    reg                         counts_reg;
                    assign logit  = logit_reg;
                    assign lane   = lane_reg;
                    assign counts = counts_reg;
                    always @(posedge clk)
                        if (gen_stage[level+1].ready)
                            counts_reg <= gen_level[level-1].gen_node[2*node].counts;
                    if (2*node + 1 < nodes(level - 1)) begin : gen_two
                        wire upper = gen_level[level-1].gen_node[2*node+1].counts
                                  && gen_level[level-1].gen_node[2*node+1].logit
                                     > gen_level[level-1].gen_node[2*node].logit;
                        always @(posedge clk)
                            if (gen_stage[level+1].ready) begin
                                logit_reg <= upper ? gen_level[level-1].gen_node[2*node+1].logit
                                                   : gen_level[level-1].gen_node[2*node].logit;
                                lane_reg  <= upper ? gen_level[level-1].gen_node[2*node+1].lane
                                                   : gen_level[level-1].gen_node[2*node].lane;
                            end
                    end else begin : gen_one
                        always @(posedge clk)
                            if (gen_stage[level+1].ready) begin
                                logit_reg <= gen_level[level-1].gen_node[2*node].logit;
                                lane_reg  <= gen_level[level-1].gen_node[2*node].lane;
                            end
                    end
                end
            end
        end
    endgenerate

    wire signed [WIDTH-1:0]      logit = gen_level[LEVELS].gen_node[0].logit;
    wire        [LANE_WIDTH-1:0] lane  = gen_level[LEVELS].gen_node[0].lane;
    wire                         last  = gen_stage[STAGES-1].beat[WIDTH*LANES];
    wire unused = &{1'b0, gen_level[LEVELS].gen_node[0].counts};

    reg                    started_reg = 1'b0;  // best and base are of this image
    reg signed [WIDTH-1:0] best_reg;
    reg [INDEX_WIDTH-1:0]  best_index_reg;
    reg [INDEX_WIDTH-1:0]  base_reg;            // index of the beat's first logit
    wire [INDEX_WIDTH-1:0] base = started_reg ? base_reg : {INDEX_WIDTH{1'b0}};
    wire [INDEX_WIDTH-1:0] offset;              // of the beat's largest

    assign {m_axis_tlast, m_axis_tdata} = gen_stage[STAGES].beat;
    assign m_axis_tuser[INDEX_WIDTH-1:0] = best_index_reg;
    generate
        if (INDEX_WIDTH > LANE_WIDTH) begin : gen_beats
            assign offset = {{(INDEX_WIDTH-LANE_WIDTH){1'b0}}, lane};
        end else begin : gen_beat
            assign offset = lane;
        end
        if (INDEX_WIDTH < 16) begin : gen_narrow
            assign m_axis_tuser[15:INDEX_WIDTH] = 0;
        end
    endgenerate

    always @(posedge clk) begin
        if (gen_stage[STAGES].ready && valid[STAGES-1]) begin
            started_reg <= !last;
            base_reg    <= base + STEP[INDEX_WIDTH-1:0];
            if (!started_reg || logit > best_reg) begin
                best_reg       <= logit;
                best_index_reg <= base + offset;
            end
        end
        if (rst)
            started_reg <= 1'b0;
    end

endmodule

`default_nettype wire
